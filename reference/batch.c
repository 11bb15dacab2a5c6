/*
 * A batch of sequences that share prefixes, run one after the other with the naive model.
 */
#include "batch.h"

#include <math.h>
#include <stdlib.h>

adamoe_status adamoe_batch_check(const adamoe_config *config, const adamoe_segment *segment, size_t count)
{
    for (size_t s = 0; s < count; ++s) {
        if (segment[s].count == 0) {
            return adamoe_error(ADAMOE_BAD_INPUT, "batch: segment %zu: no token", s);
        }
        if (segment[s].parent != ADAMOE_NO_PARENT && segment[s].parent >= s) {
            return adamoe_error(ADAMOE_BAD_INPUT, "batch: segment %zu: its parent is not before it", s);
        }
        for (size_t i = 0; i < segment[s].count; ++i) {
            if (segment[s].token[i] >= config->vocab_size) {
                return adamoe_error(ADAMOE_BAD_INPUT,
                                    "batch: segment %zu, token %zu: id %u is outside the "
                                    "vocabulary of %zu",
                                    s, i, segment[s].token[i], config->vocab_size);
            }
        }
    }
    return adamoe_ok();
}

size_t adamoe_segment_start(const adamoe_segment *segment, size_t index)
{
    size_t start = 0;
    for (size_t s = segment[index].parent; s != ADAMOE_NO_PARENT; s = segment[s].parent) {
        start += segment[s].count;
    }
    return start;
}

adamoe_work adamoe_batch_work(const adamoe_config *config, const adamoe_segment *segment, size_t count)
{
    adamoe_work work = {0};
    for (size_t s = 0; s < count; ++s) {
        const size_t start = adamoe_segment_start(segment, s);
        work.tokens += segment[s].count;
        if (segment[s].logits_from < segment[s].count) {
            work.head_positions += segment[s].count - segment[s].logits_from;
        }
        for (size_t i = 0; i < segment[s].count; ++i) {
            work.visible_keys += adamoe_visible_keys(config, start + i);
        }
    }
    return work;
}

/* The segments whose tokens stand in the cache, from the root on. */
typedef struct chain {
    adamoe_cache *cache;
    size_t *segment; /* [length] */
    size_t length;
} chain;

static adamoe_status fill(const adamoe_model *model, const adamoe_segment *segment, size_t s, chain *held);

/* Cuts the chain back to `s`, or fills the cache with its tokens once more. */
static adamoe_status hold(const adamoe_model *model, const adamoe_segment *segment, size_t s, chain *held)
{
    while (held->length > 0 && (s == ADAMOE_NO_PARENT || held->segment[held->length - 1] > s)) {
        held->cache->length -= segment[held->segment[--held->length]].count;
    }
    if (s == ADAMOE_NO_PARENT || (held->length > 0 && held->segment[held->length - 1] == s)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(hold(model, segment, segment[s].parent, held));
    return fill(model, segment, s, held);
}

static adamoe_status fill(const adamoe_model *model, const adamoe_segment *segment, size_t s, chain *held)
{
    held->segment[held->length++] = s;
    return adamoe_model_forward(model, held->cache, segment[s].token, segment[s].count, NULL, NULL, NULL);
}

static adamoe_status run_part(const adamoe_model *model, chain *held, const uint32_t *token, size_t count,
                              const adamoe_batch_hooks *hooks, float *logits)
{
    if (count == 0) {
        return adamoe_ok();
    }
    const adamoe_observer observer = {.context = hooks->context, .routed = hooks->routed};
    return adamoe_model_forward(model, held->cache, token, count, hooks->routed == NULL ? NULL : &observer,
                                NULL, logits);
}

/* The tokens without logits in one call, the others one by one. */
static adamoe_status run_segment(const adamoe_model *model, const adamoe_segment *segment, size_t s,
                                 chain *held, const adamoe_batch_hooks *hooks, float *logits)
{
    const adamoe_segment *now = &segment[s];
    const size_t quiet = now->logits_from < now->count ? now->logits_from : now->count;
    ADAMOE_TRY(hold(model, segment, now->parent, held));
    ADAMOE_TRY(run_part(model, held, now->token, quiet, hooks, NULL));
    for (size_t i = quiet; i < now->count; ++i) {
        ADAMOE_TRY(run_part(model, held, now->token + i, 1, hooks, logits));
        if (hooks->logits != NULL) {
            hooks->logits(hooks->context, s, i, logits);
        }
    }
    held->segment[held->length++] = s;
    return adamoe_ok();
}

static size_t longest_sequence(const adamoe_segment *segment, size_t count)
{
    size_t longest = 0;
    for (size_t s = 0; s < count; ++s) {
        const size_t length = adamoe_segment_start(segment, s) + segment[s].count;
        longest = length > longest ? length : longest;
    }
    return longest;
}

adamoe_status adamoe_batch_forward(const adamoe_model *model, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks)
{
    ADAMOE_TRY(adamoe_batch_check(&model->config, segment, count));
    chain held = {.cache = NULL, .segment = calloc(count + 1, sizeof *held.segment), .length = 0};
    float *logits = calloc(model->config.vocab_size + 1, sizeof *logits);
    adamoe_status status = adamoe_ok();
    if (held.segment == NULL || logits == NULL) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "batch: out of memory");
    } else {
        status = adamoe_cache_create(&model->config, longest_sequence(segment, count), &held.cache);
    }
    for (size_t s = 0; s < count && status.code == ADAMOE_OK; ++s) {
        status = run_segment(model, segment, s, &held, hooks, logits);
        if (status.code != ADAMOE_OK) {
            status = adamoe_error(status.code, "segment %zu: %.400s", s, status.message);
        }
    }
    adamoe_cache_free(held.cache);
    free(held.segment);
    free(logits);
    return status;
}

double adamoe_log_sum_exp(const float *logits, size_t vocab_size)
{
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t v = 0; v < vocab_size; ++v) {
        largest = fmax(largest, (double)logits[v]);
    }
    for (size_t v = 0; v < vocab_size; ++v) {
        sum += exp((double)logits[v] - largest);
    }
    return largest + log(sum);
}

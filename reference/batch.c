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

/* The start of segment `index` where that of the segment before it is known: a chain, and the choices of one
 * question, are followed without walking back to the root for each. */
static size_t next_start(const adamoe_segment *segment, size_t index, size_t previous_start)
{
    const size_t parent = segment[index].parent;
    if (index > 0 && parent == index - 1) {
        return previous_start + segment[index - 1].count;
    }
    if (index > 0 && parent == segment[index - 1].parent) {
        return previous_start;
    }
    return adamoe_segment_start(segment, index);
}

adamoe_work adamoe_batch_work(const adamoe_config *config, const adamoe_segment *segment, size_t count)
{
    adamoe_work work = {0};
    size_t start = 0;
    for (size_t s = 0; s < count; ++s) {
        start = next_start(segment, s, start);
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

/* Cuts the chain back to the last segment that is `s` or an ancestor of it, and fills the cache with the
 * tokens of those that are missing once more. */
static adamoe_status hold(const adamoe_model *model, const adamoe_segment *segment, size_t s, chain *held)
{
    size_t missing = 0;
    for (size_t a = s;; a = segment[a].parent, ++missing) {
        while (held->length > 0 && (a == ADAMOE_NO_PARENT || held->segment[held->length - 1] > a)) {
            held->cache->length -= segment[held->segment[--held->length]].count;
        }
        if (a == ADAMOE_NO_PARENT || (held->length > 0 && held->segment[held->length - 1] == a)) {
            break;
        }
    }
    for (size_t a = s, i = missing; i > 0; a = segment[a].parent, --i) {
        held->segment[held->length + i - 1] = a;
    }
    for (size_t i = 0; i < missing; ++i) {
        const adamoe_segment *again = &segment[held->segment[held->length]];
        ADAMOE_TRY(adamoe_model_forward(model, held->cache, again->token, again->count, NULL, NULL, NULL));
        ++held->length;
    }
    return adamoe_ok();
}

/* What a segment needs beside the cache. */
typedef struct buffers {
    float *hidden; /* [the longest segment, hidden_size] */
    float *logits; /* [vocab_size] */
    double *work;
} buffers;

static void free_buffers(buffers *b)
{
    free(b->hidden);
    free(b->logits);
    free(b->work);
}

static adamoe_status allocate_buffers(const adamoe_config *config, const adamoe_segment *segment,
                                      size_t count, buffers *b)
{
    size_t longest = 1;
    for (size_t s = 0; s < count; ++s) {
        longest = segment[s].count > longest ? segment[s].count : longest;
    }
    *b = (buffers){.hidden = calloc(longest, config->hidden_size * sizeof *b->hidden),
                   .logits = calloc(config->vocab_size, sizeof *b->logits),
                   .work = calloc(adamoe_model_head_work(config), sizeof *b->work)};
    if (b->hidden == NULL || b->logits == NULL || b->work == NULL) {
        free_buffers(b);
        return adamoe_error(ADAMOE_ENVIRONMENT, "batch: out of memory");
    }
    return adamoe_ok();
}

/* All tokens in one call, then the head where its logits are wanted and somebody reads them. */
static adamoe_status run_segment(const adamoe_model *model, const adamoe_segment *segment, size_t s,
                                 chain *held, const adamoe_batch_hooks *hooks, const buffers *b)
{
    const adamoe_segment *now = &segment[s];
    const adamoe_observer observer = {.context = hooks->context, .routed = hooks->routed};
    ADAMOE_TRY(hold(model, segment, now->parent, held));
    ADAMOE_TRY(adamoe_model_forward(model, held->cache, now->token, now->count,
                                    hooks->routed == NULL ? NULL : &observer, b->hidden, NULL));
    held->segment[held->length++] = s;
    for (size_t i = now->logits_from; i < now->count && hooks->logits != NULL; ++i) {
        ADAMOE_TRY(adamoe_model_head(model, b->hidden, i, b->logits, b->work));
        hooks->logits(hooks->context, s, i, b->logits);
    }
    return adamoe_ok();
}

static size_t longest_sequence(const adamoe_segment *segment, size_t count)
{
    size_t longest = 0, start = 0;
    for (size_t s = 0; s < count; ++s) {
        start = next_start(segment, s, start);
        const size_t length = start + segment[s].count;
        longest = length > longest ? length : longest;
    }
    return longest;
}

adamoe_status adamoe_batch_forward(const adamoe_model *model, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks)
{
    ADAMOE_TRY(adamoe_batch_check(&model->config, segment, count));
    buffers b;
    ADAMOE_TRY(allocate_buffers(&model->config, segment, count, &b));
    chain held = {.cache = NULL, .segment = calloc(count + 1, sizeof *held.segment), .length = 0};
    adamoe_status status =
        held.segment == NULL
            ? adamoe_error(ADAMOE_ENVIRONMENT, "batch: out of memory")
            : adamoe_cache_create(&model->config, longest_sequence(segment, count), &held.cache);
    for (size_t s = 0; s < count && status.code == ADAMOE_OK; ++s) {
        status = run_segment(model, segment, s, &held, hooks, &b);
        if (status.code != ADAMOE_OK) {
            status = adamoe_error(status.code, "segment %zu: %.400s", s, status.message);
        }
    }
    adamoe_cache_free(held.cache);
    free(held.segment);
    free_buffers(&b);
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

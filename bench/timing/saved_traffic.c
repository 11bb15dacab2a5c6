/*
 * The same tokens routed twice.
 */
#include "timing/saved_traffic.h"
#include "layers/random_layer.h"
#include "plan.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

adamoe_selection adamoe_baseline_selection(const adamoe_preset *preset)
{
    return (adamoe_selection){.hidden_size = preset->hidden_size,
                              .mixture = {preset->mixture.experts, 0, preset->baseline_top_k},
                              .null_kind = ADAMOE_NULL_ZERO};
}

static float between(adamoe_splitmix64 *random, double low, double high)
{
    return (float)(low + (high - low) * ((double)(adamoe_splitmix64_next(random) >> 11) * 0x1p-53));
}

/* True experts of token t: all tokens up to it have round((t + 1) load). */
static size_t true_experts(const adamoe_preset *preset, size_t t)
{
    const adamoe_mixture mixture = preset->mixture;
    const double wanted = floor((double)(t + 1) * preset->load + 0.5) - floor((double)t * preset->load + 0.5);
    const size_t least = mixture.top_k > mixture.null_experts ? mixture.top_k - mixture.null_experts : 0;
    const size_t k0 = preset->baseline_top_k, most = mixture.top_k < k0 ? mixture.top_k : k0;
    return wanted <= (double)least ? least : wanted >= (double)most ? most : (size_t)wanted;
}

/* Which of a token's k0 experts are given up, and which null experts come in their place, goes round. */
typedef struct turns {
    size_t kept, null_expert;
} turns;

/* `logits` are those that make the k0 experts the only positive ones; on return the
 * logits of both routings. */
static void thin_out(const adamoe_preset *preset, size_t t, turns *next, adamoe_splitmix64 *random,
                     float *logits)
{
    const adamoe_mixture mixture = preset->mixture;
    const size_t n = mixture.experts, m = mixture.null_experts, k0 = preset->baseline_top_k;
    const size_t kept = true_experts(preset, t);
    size_t place = 0;
    for (size_t i = 0; i < n; ++i) {
        if (logits[i] > 0.0f) {
            const bool stays = (place + next->kept) % k0 < kept;
            logits[i] = stays ? between(random, 1.5, 2.0) : between(random, -0.5, -0.1);
            ++place;
        } else {
            logits[i] = between(random, -2.0, -1.0);
        }
    }
    next->kept += kept < k0;
    for (size_t i = 0; i < m; ++i) {
        logits[n + i] = between(random, -2.0, -1.0);
    }
    for (size_t j = kept; j < mixture.top_k; ++j) {
        logits[n + next->null_expert] = between(random, 1.0, 1.4);
        next->null_expert = (next->null_expert + 1) % m;
    }
}

/* Rows of n logits become rows of n + m, in place; the last m of each are undefined. */
static void widen_rows(float *logits, size_t tokens, size_t n, size_t m)
{
    for (size_t t = tokens; t-- > 0;) {
        memmove(logits + t * (n + m), logits + t * n, n * sizeof *logits);
    }
}

void adamoe_saved_logits(adamoe_pattern pattern, const adamoe_preset *preset, size_t tokens, uint64_t seed,
                         float *logits)
{
    const adamoe_selection baseline = adamoe_baseline_selection(preset);
    const size_t n = preset->mixture.experts, m = preset->mixture.null_experts;
    adamoe_splitmix64 random = adamoe_random_for("saved", seed);
    turns next = {0, 0};
    adamoe_pattern_logits(pattern, baseline.mixture, (double)preset->baseline_top_k, tokens, &random, logits);
    widen_rows(logits, tokens, n, m);
    for (size_t t = 0; t < tokens; ++t) {
        thin_out(preset, t, &next, &random, logits + t * (n + m));
    }
}

static adamoe_status make_baseline(const adamoe_preset *preset, const float *logits, size_t tokens,
                                   adamoe_saved_batch *out)
{
    const size_t n = preset->mixture.experts, all = n + preset->mixture.null_experts;
    const adamoe_rule rule = {.top_k = preset->baseline_top_k, .norm = ADAMOE_NORM_TRUE};
    float *of_true = malloc(tokens * n * sizeof *of_true);
    if (of_true == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", tokens);
    }
    for (size_t t = 0; t < tokens; ++t) {
        memcpy(of_true + t * n, logits + t * all, n * sizeof *of_true);
    }
    adamoe_status status = adamoe_routing_create(of_true, tokens, n, 0, rule, &out->baseline_routing);
    free(of_true);
    return status.code == ADAMOE_OK ? adamoe_plan_create(out->baseline_routing, &out->baseline_plan) : status;
}

static adamoe_status make_batches(const adamoe_preset *preset, const float *logits, uint64_t seed,
                                  adamoe_saved_trace *trace)
{
    const size_t all = preset->mixture.experts + preset->mixture.null_experts;
    for (size_t b = 0; b < trace->batches; ++b) {
        const float *part = logits + b * trace->tokens * all;
        ADAMOE_TRY(adamoe_traffic_batch_create(adamoe_preset_selection(preset), part, trace->tokens, seed + b,
                                               &trace->batch[b].adaptive));
        ADAMOE_TRY(make_baseline(preset, part, trace->tokens, &trace->batch[b]));
    }
    return adamoe_ok();
}

adamoe_status adamoe_saved_trace_create(adamoe_pattern pattern, const adamoe_preset *preset, size_t tokens,
                                        size_t least_tokens, uint64_t seed, adamoe_saved_trace *out)
{
    const size_t all = preset->mixture.experts + preset->mixture.null_experts;
    const size_t batches = least_tokens > tokens ? (least_tokens + tokens - 1) / tokens : 1;
    float *logits = malloc(batches * tokens * all * sizeof *logits);
    *out = (adamoe_saved_trace){
        .tokens = tokens, .batches = batches, .batch = calloc(batches, sizeof(adamoe_saved_batch))};
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", tokens);
    if (logits != NULL && out->batch != NULL) {
        adamoe_saved_logits(pattern, preset, batches * tokens, seed, logits);
        status = make_batches(preset, logits, seed, out);
    }
    free(logits);
    if (status.code != ADAMOE_OK) {
        adamoe_saved_trace_free(out);
    }
    return status;
}

void adamoe_saved_trace_free(adamoe_saved_trace *trace)
{
    for (size_t b = 0; trace->batch != NULL && b < trace->batches; ++b) {
        adamoe_traffic_batch_free(&trace->batch[b].adaptive);
        adamoe_routing_free(trace->batch[b].baseline_routing);
        adamoe_plan_free(trace->batch[b].baseline_plan);
    }
    free(trace->batch);
    *trace = (adamoe_saved_trace){0};
}

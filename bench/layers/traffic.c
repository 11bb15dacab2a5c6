/*
 * What a benchmark asks of a layer.
 */
#include "layers/traffic.h"
#include "layers/random_layer.h"
#include "machine/memory.h"
#include "router.h"
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUTER_NOISE 0.05 /* deviation of a logit */

adamoe_selection adamoe_preset_selection(const adamoe_preset *preset)
{
    return (adamoe_selection){preset->hidden_size, preset->mixture, preset->null_kind};
}

static size_t all_experts(adamoe_selection selection)
{
    return selection.mixture.experts + selection.mixture.null_experts;
}

static void fill_states(adamoe_selection selection, const float *logits, size_t tokens, uint64_t seed,
                        float *x)
{
    const size_t d = selection.hidden_size, all = all_experts(selection);
    adamoe_splitmix64 random = adamoe_random_for("hidden_states", seed);
    adamoe_random_states(&random, tokens * d, x);
    for (size_t t = 0; t < tokens; ++t) {
        memcpy(x + t * d, logits + t * all, all * sizeof *x);
    }
}

adamoe_status adamoe_traffic_batch_create(adamoe_selection selection, const float *logits, size_t tokens,
                                          uint64_t seed, adamoe_traffic_batch *out)
{
    const adamoe_mixture mixture = selection.mixture;
    const adamoe_rule rule = {
        .top_k = mixture.top_k, .norm = ADAMOE_NORM_TRUE, .null_kind = selection.null_kind};
    *out = (adamoe_traffic_batch){.x = calloc(tokens * selection.hidden_size + 1, sizeof(float))};
    if (out->x == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "hidden states: out of memory for %zu tokens", tokens);
    }
    fill_states(selection, logits, tokens, seed, out->x);
    adamoe_status status =
        adamoe_routing_create(logits, tokens, mixture.experts, mixture.null_experts, rule, &out->routing);
    if (status.code == ADAMOE_OK) {
        status = adamoe_plan_create(out->routing, &out->plan);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_traffic_batch_free(out);
    }
    return status;
}

void adamoe_traffic_batch_free(adamoe_traffic_batch *batch)
{
    free(batch->x);
    adamoe_routing_free(batch->routing);
    adamoe_plan_free(batch->plan);
    *batch = (adamoe_traffic_batch){0};
}

static size_t touched_experts(const adamoe_plan *plan)
{
    size_t count = 0;
    for (size_t e = 0; e < plan->experts; ++e) {
        count += plan->offset[e] < plan->offset[e + 1];
    }
    return count;
}

void adamoe_traffic_move_on(adamoe_selection selection, const float *logits, size_t tokens, size_t step,
                            float *moved)
{
    const size_t n = selection.mixture.experts, all = all_experts(selection);
    memcpy(moved, logits, tokens * all * sizeof *moved);
    for (size_t t = 0; t < tokens; ++t) {
        for (size_t i = 0; i < n; ++i) {
            moved[t * all + (i + step) % n] = logits[t * all + i];
        }
    }
}

static adamoe_status add_moved(adamoe_selection selection, const float *logits, uint64_t seed, size_t step,
                               adamoe_traffic *traffic)
{
    float *moved = malloc((traffic->tokens * all_experts(selection) + 1) * sizeof *moved);
    if (moved == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", traffic->tokens);
    }
    adamoe_traffic_move_on(selection, logits, traffic->tokens, step, moved);
    const adamoe_status status = adamoe_traffic_batch_create(selection, moved, traffic->tokens, seed,
                                                             &traffic->batch[traffic->batches]);
    free(moved);
    traffic->batches += status.code == ADAMOE_OK;
    return status;
}

/* Of one batch: hidden states, three arrays of a number for each expert, and what a selection takes, three times
 * 32 bytes at most. */
static double batch_bytes(adamoe_selection selection, size_t tokens)
{
    const double each = 4.0 * (double)selection.hidden_size + 12.0 * (double)all_experts(selection) +
                        96.0 * (double)selection.mixture.top_k;
    return each * (double)tokens;
}

static adamoe_status ask_for_batches(adamoe_selection selection, size_t tokens, size_t batches)
{
    return adamoe_ask_memory("hidden states and routing", (double)batches * batch_bytes(selection, tokens),
                             "fewer tokens (--tokens)");
}

adamoe_status adamoe_traffic_create(adamoe_selection selection, const float *logits, size_t tokens,
                                    uint64_t seed, bool rotate, adamoe_traffic *out)
{
    const size_t n = selection.mixture.experts;
    ADAMOE_TRY(ask_for_batches(selection, tokens, 1));
    *out = (adamoe_traffic){.tokens = tokens, .batch = calloc(n, sizeof *out->batch)};
    if (out->batch == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory");
    }
    adamoe_status status = add_moved(selection, logits, seed, 0, out);
    const size_t touched = status.code == ADAMOE_OK ? touched_experts(out->batch[0].plan) : 0;
    const size_t wanted = rotate && touched > 0 ? n / touched : 1;
    if (status.code == ADAMOE_OK) {
        status = ask_for_batches(selection, tokens, wanted - 1);
    }
    while (status.code == ADAMOE_OK && out->batches < wanted) {
        status = add_moved(selection, logits, seed, out->batches * touched, out);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_traffic_free(out);
    }
    return status;
}

void adamoe_traffic_free(adamoe_traffic *traffic)
{
    for (size_t i = 0; i < traffic->batches; ++i) {
        adamoe_traffic_batch_free(&traffic->batch[i]);
    }
    free(traffic->batch);
    *traffic = (adamoe_traffic){0};
}

void adamoe_traffic_router(adamoe_selection selection, uint64_t seed, float *rows)
{
    const size_t d = selection.hidden_size, all = all_experts(selection);
    adamoe_splitmix64 random = adamoe_random_for("router", seed);
    const double bound = ROUTER_NOISE * adamoe_weight_bound(d);
    for (size_t i = 0; i < all; ++i) {
        adamoe_random_values(&random, ADAMOE_F32, bound, d, rows + i * d);
        memset(rows + i * d, 0, all * sizeof *rows);
        rows[i * d + i] = 1.0f;
    }
}

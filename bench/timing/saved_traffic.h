/*
 * The same tokens routed twice: with null experts, and by the layer without them, whose top-k0 the null
 * experts thin out.
 */
#ifndef ADAMOE_TIMING_SAVED_TRAFFIC_H
#define ADAMOE_TIMING_SAVED_TRAFFIC_H

#include "layers/traffic.h"

/* One batch of tokens. Both routings read the hidden states of `adaptive`. */
typedef struct adamoe_saved_batch {
    adamoe_traffic_batch adaptive;
    adamoe_routing *baseline_routing; /* m = 0, top-k0 */
    adamoe_plan *baseline_plan;
} adamoe_saved_batch;

/* A trace of batches, which take their turn in order. */
typedef struct adamoe_saved_trace {
    size_t tokens, batches; /* tokens of one batch */
    adamoe_saved_batch *batch;
} adamoe_saved_trace;

/* logits [tokens, n + m] of tokens whose k0 largest true logits are those of k0 experts drawn by `pattern`
 * (balanced, random or skewed), and of whose top-k only some are true: as many as make a mean of `load`,
 * rounded to a whole number after each token. The experts that a token gives up take turns among its k0, so
 * that both routings are as balanced as the pattern. What the router has to tell apart is at least 0.1 apart.
 * A token never has more than k0 true experts, which a trained router may give it. */
void adamoe_saved_logits(adamoe_pattern pattern, const adamoe_preset *preset, size_t tokens, uint64_t seed,
                         float *logits);

/* At least `least_tokens` tokens in batches of `tokens`. The preset has null experts. Errors: memory. */
adamoe_status adamoe_saved_trace_create(adamoe_pattern pattern, const adamoe_preset *preset, size_t tokens,
                                        size_t least_tokens, uint64_t seed, adamoe_saved_trace *out);
void adamoe_saved_trace_free(adamoe_saved_trace *trace);

/* How the baseline selects: the preset without null experts, top-k0. */
adamoe_selection adamoe_baseline_selection(const adamoe_preset *preset);

#endif

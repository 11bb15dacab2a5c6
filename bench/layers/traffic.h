/*
 * What a benchmark asks of a layer: hidden states whose router logits stand in their first n + m channels, so
 * that a real router, a real product with a real matrix, selects the experts that were wanted.
 *
 * Batches of one traffic are the same tokens with the true experts moved on: they touch other weights, as
 * successive layers of a model do.
 */
#ifndef ADAMOE_LAYERS_TRAFFIC_H
#define ADAMOE_LAYERS_TRAFFIC_H

#include "layers/presets.h"

typedef struct adamoe_traffic_batch {
    float *x; /* [tokens, hidden_size] */
    adamoe_routing *routing;
    adamoe_plan *plan;
} adamoe_traffic_batch;

typedef struct adamoe_traffic {
    size_t tokens, batches;
    adamoe_traffic_batch *batch; /* [batches] */
} adamoe_traffic;

/* The part of a preset that makes a routing: m may be 0 and k another one than the preset's. */
typedef struct adamoe_selection {
    size_t hidden_size;
    adamoe_mixture mixture;
    adamoe_null_kind null_kind;
} adamoe_selection;

adamoe_selection adamoe_preset_selection(const adamoe_preset *preset);

/* One batch from logits [tokens, n + m]; the other channels are random and depend on `seed` alone. Errors:
 * memory. */
adamoe_status adamoe_traffic_batch_create(adamoe_selection selection, const float *logits, size_t tokens,
                                          uint64_t seed, adamoe_traffic_batch *out);
void adamoe_traffic_batch_free(adamoe_traffic_batch *batch);

/* Logits [tokens, n + m] of which that of true expert i has become that of expert i + step, going round. */
void adamoe_traffic_move_on(adamoe_selection selection, const float *logits, size_t tokens, size_t step,
                            float *moved);

/* The batches of a benchmark: one, or with `rotate` as many as touch different experts. Moved batches of an
 * unbalanced routing may share some experts. */
adamoe_status adamoe_traffic_create(adamoe_selection selection, const float *logits, size_t tokens,
                                    uint64_t seed, bool rotate, adamoe_traffic *out);
void adamoe_traffic_free(adamoe_traffic *traffic);

/* The router's rows [n + m, hidden_size] for such hidden states: row i reads channel i, and with small random
 * weights all channels without a logit, which moves a logit by about 0.05. Logits that must not change places
 * have to be further apart than a few times that. */
void adamoe_traffic_router(adamoe_selection selection, uint64_t seed, float *rows);

#endif

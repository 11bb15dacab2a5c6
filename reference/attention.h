/*
 * The parts of a transformer block beside the experts: RMSNorm, rotary embedding, grouped-query attention.
 */
#ifndef ADAMOE_ATTENTION_H
#define ADAMOE_ATTENTION_H

#include "model.h"

/* out = x / sqrt(mean(x^2) + eps) * gain. x, out are [count, columns of gain]; gain is [1, columns]. */
void adamoe_rms_norm(const adamoe_matrix *gain, double eps, const float *x, size_t count, float *out);

/* Rotates one head in place: the pair (x[i], x[i + head_dim/2]) by the angle position * theta^(-2i/head_dim)
 * (half-split pairing). */
void adamoe_rotary(float *head, size_t head_dim, double theta, size_t position);

/* One query head over the keys that it sees: out = sum over visible j of softmax_j(q · k_j / sqrt(head_dim))
 * v_j. A key at j is visible to the query at `position` if 0 <= position - j < window (0: no limit). keys and
 * values hold one position every `stride` floats, the first at position 0; scores is [position + 1]. */
void adamoe_attention_head(const float *query, const float *keys, const float *values, size_t stride,
                           size_t head_dim, size_t position, size_t window, double *scores, float *out);

/* Grouped-query attention of layer `layer` for count new positions, the first at cache->length: appends their
 * keys and values to the cache (whose length stays) and writes out [count, hidden_size], the output
 * projection included. x is [count, hidden_size], normalised. Errors: memory. */
adamoe_status adamoe_attention_forward(const adamoe_config *config, const adamoe_attention *attention,
                                       size_t layer, adamoe_cache *cache, const float *x, size_t count,
                                       float *out);

/* The first key that a query at `position` sees. */
size_t adamoe_first_visible(size_t position, size_t window);

#endif

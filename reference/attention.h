/*
 * Grouped-query attention, and its cache of keys and values.
 */
#ifndef ADAMOE_ATTENTION_H
#define ADAMOE_ATTENTION_H

#include "architecture.h"

typedef struct adamoe_attention {
    adamoe_matrix q; /* [heads * head_dim, hidden_size] */
    adamoe_matrix k; /* [key_value_heads * head_dim, hidden_size] */
    adamoe_matrix v; /* as k */
    adamoe_matrix o; /* [hidden_size, heads * head_dim] */
    adamoe_matrix q_bias, k_bias, v_bias,
        o_bias;                   /* [1, rows of the matrix], where the architecture has them */
    adamoe_matrix q_norm, k_norm; /* gains, [1, head_dim or all of it], likewise */
} adamoe_attention;

/* Keys and values of one sequence, all layers, after rotary embedding: float32 [layers, capacity,
 * key_value_heads * head_dim]. Setting length to less forgets the tail: that is how choices share the cache
 * of their question. */
typedef struct adamoe_cache {
    size_t length, capacity;
    float *keys, *values;
} adamoe_cache;

adamoe_status adamoe_cache_create(const adamoe_config *config, size_t capacity, adamoe_cache **out);
void adamoe_cache_free(adamoe_cache *cache);

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

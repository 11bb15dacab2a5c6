/*
 * Keys and values of one sequence in all layers, so that a token that follows costs its own work alone.
 */
#ifndef ADAMOE_MODEL_KEY_VALUE_CACHE_H
#define ADAMOE_MODEL_KEY_VALUE_CACHE_H

#include "model.h"

typedef struct adamoe_key_value_cache {
    size_t length;        /* positions that it holds; setting it to less forgets the last ones */
    size_t capacity;      /* positions that it has room for */
    size_t layers, width; /* width = key_value_heads * head_dim */
    float *keys, *values; /* [layers, capacity, width]; keys are rotated */
} adamoe_key_value_cache;

/* An empty cache for `capacity` positions. Errors: memory. */
adamoe_status adamoe_key_value_cache_create(const adamoe_config *config, size_t capacity,
                                            adamoe_key_value_cache **out);
void adamoe_key_value_cache_free(adamoe_key_value_cache *cache);

/* The keys and values of a layer from position 0 on: [capacity, width]. */
float *adamoe_key_value_cache_keys(const adamoe_key_value_cache *cache, size_t layer);
float *adamoe_key_value_cache_values(const adamoe_key_value_cache *cache, size_t layer);

#endif

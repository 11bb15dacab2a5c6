/*
 * Memory for keys and values. It comes zeroed from the system and is touched as the sequence grows.
 */
#include "model/key_value_cache.h"

#include <stdlib.h>

adamoe_status adamoe_key_value_cache_create(const adamoe_config *config, size_t capacity,
                                            adamoe_key_value_cache **out)
{
    const size_t width = config->key_value_heads * config->head_dim;
    adamoe_key_value_cache *cache = calloc(1, sizeof *cache);
    size_t rows = 0;
    if (cache != NULL && !__builtin_mul_overflow(config->layers, capacity, &rows) && rows < SIZE_MAX &&
        width <= SIZE_MAX / sizeof(float)) {
        *cache = (adamoe_key_value_cache){.capacity = capacity, .layers = config->layers, .width = width};
        cache->keys = calloc(rows + 1, width * sizeof *cache->keys); /* + 1: calloc(0) may give NULL */
        cache->values = calloc(rows + 1, width * sizeof *cache->values);
    }
    if (cache == NULL || cache->keys == NULL || cache->values == NULL) {
        adamoe_key_value_cache_free(cache);
        return adamoe_error(ADAMOE_ENVIRONMENT, "key-value cache: out of memory for %zu positions", capacity);
    }
    *out = cache;
    return adamoe_ok();
}

void adamoe_key_value_cache_free(adamoe_key_value_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    free(cache->keys);
    free(cache->values);
    free(cache);
}

float *adamoe_key_value_cache_keys(const adamoe_key_value_cache *cache, size_t layer)
{
    return cache->keys + layer * cache->capacity * cache->width;
}

float *adamoe_key_value_cache_values(const adamoe_key_value_cache *cache, size_t layer)
{
    return cache->values + layer * cache->capacity * cache->width;
}

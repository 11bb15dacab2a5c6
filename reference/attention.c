/*
 * Grouped-query attention, causal, with a key-value cache and an optional sliding window (reference/README.md
 * section 8).
 */
#include "attention.h"
#include "layer.h"
#include "norm.h"
#include "numbers.h"
#include "rotary.h"

#include <math.h>
#include <stdlib.h>

adamoe_status adamoe_cache_create(const adamoe_config *config, size_t capacity, adamoe_cache **out)
{
    const size_t position = config->layers * config->key_value_heads * config->head_dim;
    if (capacity > SIZE_MAX / sizeof(float) / (position + 1)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "cache: %zu positions overflow", capacity);
    }
    adamoe_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL) {
        cache->capacity = capacity;
        cache->keys = calloc(capacity * position + 1, sizeof *cache->keys);
        cache->values = calloc(capacity * position + 1, sizeof *cache->values);
    }
    if (cache == NULL || cache->keys == NULL || cache->values == NULL) {
        adamoe_cache_free(cache);
        return adamoe_error(ADAMOE_ENVIRONMENT, "cache: out of memory for %zu positions", capacity);
    }
    *out = cache;
    return adamoe_ok();
}

void adamoe_cache_free(adamoe_cache *cache)
{
    if (cache != NULL) {
        free(cache->keys);
        free(cache->values);
        free(cache);
    }
}

size_t adamoe_first_visible(size_t position, size_t window)
{
    return window == 0 || position < window ? 0 : position - window + 1;
}

void adamoe_attention_head(const float *query, const float *keys, const float *values, size_t stride,
                           size_t head_dim, size_t position, size_t window, double *scores, float *out)
{
    const size_t first = adamoe_first_visible(position, window);
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t j = first; j <= position; ++j) {
        double score = 0.0;
        for (size_t c = 0; c < head_dim; ++c) {
            score += (double)query[c] * (double)keys[j * stride + c];
        }
        scores[j] = score / sqrt((double)head_dim);
        largest = fmax(largest, scores[j]);
    }
    for (size_t j = first; j <= position; ++j) {
        scores[j] = exp(scores[j] - largest);
        sum += scores[j];
    }
    for (size_t c = 0; c < head_dim; ++c) {
        double mix = 0.0;
        for (size_t j = first; j <= position; ++j) {
            mix += scores[j] / sum * (double)values[j * stride + c];
        }
        out[c] = (float)mix;
    }
}

static void rotate_heads(const adamoe_config *config, float *x, size_t heads, size_t position)
{
    for (size_t h = 0; h < heads; ++h) {
        adamoe_rotate_head(config, x + h * config->head_dim, position);
    }
}

static void add_bias(const adamoe_matrix *bias, float *x)
{
    for (size_t c = 0; c < bias->columns; ++c) {
        x[c] = (float)((double)x[c] + adamoe_matrix_at(bias, 0, c));
    }
}

/* The gain is as wide as what one norm is over: a head, or all of them. */
static void norm_heads(const adamoe_config *config, const adamoe_matrix *gain, float *x, size_t heads)
{
    adamoe_rms_norm(gain, config->rms_norm_eps, x, heads * config->head_dim / gain->columns, x);
}

static void clip(double limit, float *x, size_t count)
{
    for (size_t c = 0; c < count; ++c) {
        x[c] = (float)fmin(fmax((double)x[c], -limit), limit);
    }
}

static void multiply(double factor, float *x, size_t count)
{
    for (size_t c = 0; c < count; ++c) {
        x[c] = (float)(factor * (double)x[c]);
    }
}

/* One position: projects, appends to this layer's part of the cache, attends, projects back. */
static void attend(const adamoe_config *config, const adamoe_attention *attention, float *keys, float *values,
                   size_t position, const float *x, float *out, float *query, float *mixed, double *buffer)
{
    const size_t hd = config->head_dim, stride = config->key_value_heads * hd;
    float *key = keys + position * stride, *value = values + position * stride;
    adamoe_matrix_vector_float(&attention->q, x, query, buffer);
    adamoe_matrix_vector_float(&attention->k, x, key, buffer);
    adamoe_matrix_vector_float(&attention->v, x, value, buffer);
    if (config->architecture.biases) {
        add_bias(&attention->q_bias, query);
        add_bias(&attention->k_bias, key);
        add_bias(&attention->v_bias, value);
    }
    if (config->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE) {
        norm_heads(config, &attention->q_norm, query, config->heads);
        norm_heads(config, &attention->k_norm, key, config->key_value_heads);
    }
    if (config->architecture.clipped) {
        clip(config->clip, query, config->heads * hd);
        clip(config->clip, key, stride);
        clip(config->clip, value, stride);
    }
    rotate_heads(config, query, config->heads, position);
    rotate_heads(config, key, config->key_value_heads, position);
    multiply(adamoe_query_multiplier(config), query, config->heads * hd);
    for (size_t h = 0; h < config->heads; ++h) {
        const size_t kv = h * config->key_value_heads / config->heads;
        adamoe_attention_head(query + h * hd, keys + kv * hd, values + kv * hd, stride, hd, position,
                              config->sliding_window, buffer, mixed + h * hd);
    }
    adamoe_matrix_vector_float(&attention->o, mixed, out, buffer);
    if (config->architecture.output_bias) {
        add_bias(&attention->o_bias, out);
    }
}

/* Enough for the scores of the last position and for the longest projection. */
static size_t buffer_size(const adamoe_config *config, size_t positions)
{
    const size_t width = config->heads * config->head_dim;
    const size_t longest = width > config->hidden_size ? width : config->hidden_size;
    return positions > 3 * longest ? positions : 3 * longest;
}

adamoe_status adamoe_attention_forward(const adamoe_config *config, const adamoe_attention *attention,
                                       size_t layer, adamoe_cache *cache, const float *x, size_t count,
                                       float *out)
{
    const size_t width = config->heads * config->head_dim;
    const size_t layer_size = cache->capacity * config->key_value_heads * config->head_dim;
    float *query = calloc(2 * width, sizeof *query);
    double *buffer = calloc(buffer_size(config, cache->length + count), sizeof *buffer);
    if (query == NULL || buffer == NULL) {
        free(query);
        free(buffer);
        return adamoe_error(ADAMOE_ENVIRONMENT, "attention: out of memory");
    }
    for (size_t t = 0; t < count; ++t) {
        attend(config, attention, cache->keys + layer * layer_size, cache->values + layer * layer_size,
               cache->length + t, x + t * config->hidden_size, out + t * config->hidden_size, query,
               query + width, buffer);
    }
    free(query);
    free(buffer);
    return adamoe_ok();
}

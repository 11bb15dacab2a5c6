/*
 * Random weights, activations and layers.
 */
#include "layers/random_layer.h"
#include "machine/host.h"
#include "numbers.h"
#include "fnv1a.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

adamoe_splitmix64 adamoe_random_for(const char *name, uint64_t seed)
{
    return (adamoe_splitmix64){adamoe_fnv1a(ADAMOE_FNV1A_START, name, strlen(name)) ^ seed};
}

void adamoe_random_values(adamoe_splitmix64 *random, adamoe_dtype dtype, double bound, size_t count,
                          void *data)
{
    for (size_t i = 0; i < count; ++i) {
        const int64_t draw = (int64_t)(adamoe_splitmix64_next(random) >> 11);
        const double value = (double)(draw - (INT64_C(1) << 52)) * 0x1p-52; /* in [-1, 1) */
        adamoe_set_element(data, dtype, i, (float)(value * bound));
    }
}

void adamoe_random_states(adamoe_splitmix64 *random, size_t count, float *states)
{
    for (size_t i = 0; i < count; ++i) {
        states[i] = (float)adamoe_splitmix64_normal(random);
    }
}

/* A uniform value in (-b, b) has the deviation b / sqrt(3). */
double adamoe_weight_bound(size_t columns)
{
    return sqrt(3.0 / (double)(columns > 0 ? columns : 1));
}

/* Points the experts' matrices into the memory, one after the other: w1, w3, w2. */
static void place_experts(adamoe_random_layer *layer, size_t offset, adamoe_dtype dtype)
{
    const size_t d = layer->layer.hidden_size, ff = layer->layer.intermediate_size;
    const size_t step = d * ff * adamoe_dtype_bytes(dtype);
    const unsigned char *data = layer->memory + offset;
    for (size_t e = 0; e < layer->layer.experts; ++e, data += 3 * step) {
        layer->expert[e] = (adamoe_expert){.w1 = {data, dtype, ff, d},
                                           .w3 = {data + step, dtype, ff, d},
                                           .w2 = {data + 2 * step, dtype, d, ff}};
    }
    layer->layer.expert = layer->expert;
}

static adamoe_status allocate(adamoe_layer_sizes sizes, adamoe_dtype dtype, size_t offset,
                              adamoe_random_layer *out)
{
    const size_t elements = 3 * sizes.experts * sizes.hidden_size * sizes.intermediate_size;
    *out = (adamoe_random_layer){.layer = {.hidden_size = sizes.hidden_size,
                                           .intermediate_size = sizes.intermediate_size,
                                           .experts = sizes.experts,
                                           .null_experts = sizes.null_experts},
                                 .bytes = elements * adamoe_dtype_bytes(dtype)};
    out->expert = calloc(sizes.experts + 1, sizeof *out->expert);
    out->memory = adamoe_heap_host.allocate(NULL, out->bytes + offset, 64);
    if (out->expert == NULL || out->memory == NULL) {
        const size_t bytes = out->bytes;
        adamoe_random_layer_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "random layer: out of memory for %zu bytes", bytes);
    }
    place_experts(out, offset, dtype);
    return adamoe_ok();
}

adamoe_status adamoe_random_layer_allocate(adamoe_layer_sizes sizes, adamoe_dtype dtype,
                                           adamoe_random_layer *out)
{
    return allocate(sizes, dtype, 0, out);
}

adamoe_status adamoe_random_layer_create(adamoe_layer_sizes sizes, adamoe_dtype dtype, size_t offset,
                                         adamoe_splitmix64 *random, adamoe_random_layer *out)
{
    const size_t d = sizes.hidden_size, ff = sizes.intermediate_size;
    ADAMOE_TRY(allocate(sizes, dtype, offset, out));
    unsigned char *data = out->memory + offset;
    const size_t step = d * ff * adamoe_dtype_bytes(dtype);
    for (size_t e = 0; e < sizes.experts; ++e, data += 3 * step) {
        adamoe_random_values(random, dtype, adamoe_weight_bound(d), 2 * d * ff, data); /* w1, w3 */
        adamoe_random_values(random, dtype, adamoe_weight_bound(ff), d * ff, data + 2 * step);
    }
    return adamoe_ok();
}

adamoe_status adamoe_random_layer_copy(const adamoe_random_layer *from, adamoe_random_layer *out)
{
    const adamoe_layer *layer = &from->layer;
    const adamoe_layer_sizes sizes = {layer->hidden_size, layer->intermediate_size, layer->experts,
                                      layer->null_experts};
    ADAMOE_TRY(allocate(sizes, layer->expert[0].w1.dtype, 0, out));
    memcpy(out->memory, layer->expert[0].w1.data, from->bytes);
    return adamoe_ok();
}

void adamoe_random_layer_free(adamoe_random_layer *layer)
{
    free(layer->expert);
    adamoe_heap_host.release(NULL, layer->memory);
    *layer = (adamoe_random_layer){0};
}

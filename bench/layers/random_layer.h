/*
 * Random weights, activations and layers, the same on every machine for the same seed.
 */
#ifndef ADAMOE_LAYERS_RANDOM_LAYER_H
#define ADAMOE_LAYERS_RANDOM_LAYER_H

#include "adamoe.h"
#include "splitmix64.h"

/* The generator for `name`: SplitMix64 that starts at the 64-bit FNV-1a hash of the name, exclusive-or the
 * seed. */
adamoe_splitmix64 adamoe_random_for(const char *name, uint64_t seed);

/* count values, uniform in (-bound, bound), rounded to `dtype`; data may be unaligned. */
void adamoe_random_values(adamoe_splitmix64 *random, adamoe_dtype dtype, double bound, size_t count,
                          void *data);

/* count nearly normal values of deviation 1: hidden states as they leave a norm. */
void adamoe_random_states(adamoe_splitmix64 *random, size_t count, float *states);

/* The bound of weights that keep the size of what they multiply: their deviation is 1 / sqrt(columns). */
double adamoe_weight_bound(size_t columns);

/* The experts of a layer in one block of memory that starts `offset` bytes after a multiple of 64. The layer
 * has no router. */
typedef struct adamoe_random_layer {
    adamoe_layer layer;
    adamoe_expert *expert;
    unsigned char *memory;
    size_t bytes; /* of the weights */
} adamoe_random_layer;

typedef struct adamoe_layer_sizes {
    size_t hidden_size, intermediate_size, experts, null_experts;
} adamoe_layer_sizes;

/* The layer without its weights, which stand in `memory` expert by expert: w1, w3, w2. Errors: memory. */
adamoe_status adamoe_random_layer_allocate(adamoe_layer_sizes sizes, adamoe_dtype dtype,
                                           adamoe_random_layer *out);

/* Errors: memory. */
adamoe_status adamoe_random_layer_create(adamoe_layer_sizes sizes, adamoe_dtype dtype, size_t offset,
                                         adamoe_splitmix64 *random, adamoe_random_layer *out);

/* The same weights once more, elsewhere. Errors: memory. */
adamoe_status adamoe_random_layer_copy(const adamoe_random_layer *from, adamoe_random_layer *out);

void adamoe_random_layer_free(adamoe_random_layer *layer);

#endif

/*
 * A random layer of a preset whose experts live on the ranks of a world, for benchmarks: each rank makes the weights of its
 * own experts alone, and the memory of the others is never touched.
 */
#ifndef ADAMOE_RANKS_SPREAD_LAYER_H
#define ADAMOE_RANKS_SPREAD_LAYER_H

#include "layers/presets.h"
#include "layers/random_layer.h"
#include "mpi/sharded.h"
#include "program/machine.h"

/* Copies of one layer, so that calls can go round through weights that are cold. */
typedef struct adamoe_spread_layer {
    const adamoe_preset *preset;
    uint64_t seed;
    uint32_t rank;
    uint32_t *rank_of_expert;  /* [experts] */
    size_t own;                /* experts of this rank */
    adamoe_random_layer *copy; /* [copies]: all the same weights */
    size_t copies;
    adamoe_random_layer whole; /* with weights of other ranks' experts that this one has asked for */
    bool *known;               /* [experts] of those */
} adamoe_spread_layer;

/* rank_of_expert [experts] is copied; no copy of the weights yet. Errors: memory. */
adamoe_status adamoe_spread_layer_create(const adamoe_preset *preset, uint64_t seed, uint32_t rank,
                                         const uint32_t *rank_of_expert, adamoe_spread_layer *out);
void adamoe_spread_layer_free(adamoe_spread_layer *layer);

/* At least so many copies. Those that are there stay where they are. Errors: memory. */
adamoe_status adamoe_spread_layer_hold(adamoe_spread_layer *layer, size_t copies);

/* *out has the weights of those experts that are needed, of other ranks too, which are made for it and kept. `needed` is
 * [experts]; there is a copy. Errors: memory. */
adamoe_status adamoe_spread_layer_with(adamoe_spread_layer *layer, const bool *needed,
                                       const adamoe_layer **out);

/* Bytes of this rank's experts in one copy, as stored. */
double adamoe_spread_layer_bytes(const adamoe_spread_layer *layer);

/* A kernel over the ranks, and what it prepared of each copy. */
typedef struct adamoe_spread_kernel {
    adamoe_spread_layer *layer;
    adamoe_sharded *sharded;
    adamoe_prepared **prepared; /* [copies] */
    size_t copies;
} adamoe_spread_kernel;

/* `options` but for its assignment, which is the layer's. The layer must outlive *out. Errors: memory. */
adamoe_status adamoe_spread_kernel_open(const adamoe_kernel *inner, const adamoe_sharded_options *options,
                                        adamoe_spread_layer *layer, adamoe_spread_kernel *out);
void adamoe_spread_kernel_close(adamoe_spread_kernel *kernel);

/* Prepares at least so many copies, on all ranks the same number. Errors: what prepare reports; memory. */
adamoe_status adamoe_spread_kernel_hold(adamoe_spread_kernel *kernel, const adamoe_machine *machine,
                                        size_t copies);

#endif

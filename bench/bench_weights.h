/*
 * The weights that benchmarks go round through: copies of a random layer, prepared for one kernel.
 */
#ifndef ADAMOE_BENCH_WEIGHTS_H
#define ADAMOE_BENCH_WEIGHTS_H

#include "presets.h"
#include "random_layer.h"

typedef struct adamoe_bench_weights {
    const adamoe_preset *preset;
    uint64_t seed;
    adamoe_placement placement;
    adamoe_random_layer *copy; /* [copies]: all the same weights */
    size_t copies;
    const adamoe_kernel *kernel; /* that `prepared` is for; NULL: none */
    adamoe_prepared **prepared;  /* [prepared_count], prepared[i] from copy[i] */
    size_t prepared_count;
} adamoe_bench_weights;

/* Holds at least `count` prepared copies for `kernel`; those of another kernel are released first. Errors:
 * what prepare reports; ENVIRONMENT where the machine has less memory available than the copies need. */
adamoe_status adamoe_bench_weights_hold(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                        size_t count);
void adamoe_bench_weights_free(adamoe_bench_weights *weights);

#endif

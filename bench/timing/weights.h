/*
 * The weights that benchmarks go round through: copies of a random layer, and each of them prepared for every
 * kernel that is compared. Kept for as long as the placement stays, so that all numbers of tokens share them.
 */
#ifndef ADAMOE_TIMING_WEIGHTS_H
#define ADAMOE_TIMING_WEIGHTS_H

#include "layers/presets.h"
#include "layers/random_layer.h"

/* Copies prepared for one kernel, prepared[i] from the i-th copy. */
typedef struct adamoe_prepared_copies {
    const adamoe_kernel *kernel;
    adamoe_prepared **prepared; /* [count] */
    size_t count;
} adamoe_prepared_copies;

typedef struct adamoe_bench_weights {
    const adamoe_preset *preset;
    uint64_t seed;
    adamoe_random_layer *copy; /* [copies]: all the same weights */
    size_t copies;
    adamoe_prepared_copies *store; /* [stores] */
    size_t stores;
} adamoe_bench_weights;

/* Holds at least `count` prepared copies for `kernel`; *out points to them until the next call or release.
 * `team` makes the weights. Errors: what prepare reports; ENVIRONMENT where the machine has less memory
 * available than the copies need: fewer kernels in one run need less. */
adamoe_status adamoe_bench_weights_hold(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                        size_t count, const adamoe_team *team, const adamoe_host *host,
                                        const adamoe_placement *placement, adamoe_prepared ***out);

/* Gives back what is prepared, for another placement; the random layers stay. */
void adamoe_bench_weights_release(adamoe_bench_weights *weights);
void adamoe_bench_weights_free(adamoe_bench_weights *weights);

#endif

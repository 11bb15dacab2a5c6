/*
 * The weights that benchmarks go round through: copies of a random layer, prepared for every kernel that is
 * compared. Kept for as long as the placement stays, so that all numbers of tokens share them.
 *
 * A kernel that packs all weights into memory that it asks the host for makes all its copies from one stored
 * layer. Another one may use the weights where they are, so each of its copies has stored weights of its own,
 * which such kernels share.
 */
#ifndef ADAMOE_TIMING_WEIGHTS_H
#define ADAMOE_TIMING_WEIGHTS_H

#include "layers/presets.h"
#include "layers/random_layer.h"

/* The host that kernels prepare with, counting what they ask it for. */
typedef struct adamoe_counting_host {
    adamoe_host host;
    const adamoe_host *inner;
    _Atomic size_t bytes;
} adamoe_counting_host;

/* Copies prepared for one kernel. */
typedef struct adamoe_prepared_copies {
    const adamoe_kernel *kernel;
    adamoe_prepared **prepared; /* [count] */
    size_t count;
    size_t bytes; /* that the first of them took from the host */
    bool packs;   /* those are all its weights */
} adamoe_prepared_copies;

typedef struct adamoe_bench_weights {
    const adamoe_preset *preset;
    uint64_t seed;
    adamoe_random_layer *copy; /* [copies]: all the same weights */
    size_t copies;
    adamoe_prepared_copies *store; /* [stores] */
    size_t stores;
    adamoe_counting_host *counting; /* stays where it is: what is prepared holds on to it */
} adamoe_bench_weights;

/* How many copies a kernel shall have. */
typedef struct adamoe_copies {
    const adamoe_kernel *kernel;
    size_t wanted; /* so that weights are cold */
    size_t count;  /* as many of them as there is memory for */
} adamoe_copies;

/* Whether one copy for each of the kernels fits into what is available. Errors: ENVIRONMENT, which says what would
 * fit: one kernel alone, or a smaller preset. */
adamoe_status adamoe_bench_weights_check(const adamoe_bench_weights *weights,
                                         const adamoe_kernel *const *kernels, size_t count);

/* Fills in copies[i].count of kernels that hold a copy each: all that are wanted, where the further ones take at
 * most half of the memory that is available, otherwise the same share of them for each kernel. */
void adamoe_bench_weights_plan(const adamoe_bench_weights *weights, adamoe_copies *copies, size_t count);

/* Holds at least `count` prepared copies for `kernel`; *out points to them until the next call or release.
 * `team` makes the weights; `host` is the same in every call until they are released. Errors: what prepare
 * reports; memory. */
adamoe_status adamoe_bench_weights_hold(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                        size_t count, const adamoe_team *team, const adamoe_host *host,
                                        const adamoe_placement *placement, adamoe_prepared ***out);

/* Gives back what is prepared, for another placement; the random layers stay. */
void adamoe_bench_weights_release(adamoe_bench_weights *weights);
void adamoe_bench_weights_free(adamoe_bench_weights *weights);

#endif

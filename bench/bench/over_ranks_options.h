/*
 * What a bench over ranks is to do.
 */
#ifndef ADAMOE_BENCH_OVER_RANKS_OPTIONS_H
#define ADAMOE_BENCH_OVER_RANKS_OPTIONS_H

#include "bench/layer.h"
#include "mpi/world.h"
#include "ranks/options.h"

typedef struct adamoe_bench_over_ranks {
    const adamoe_world *world;
    char mpi[96];
    const adamoe_rank_options *rank;
    const uint32_t *rank_of_expert; /* [experts] of the preset's layer */
    const adamoe_bench_options *layer;
    const adamoe_kernel *const *kernel; /* [kernels] */
    size_t kernels;
    bool named;           /* they were asked for: one that cannot run here is an error */
    const size_t *tokens; /* [token_counts] of each rank */
    size_t token_counts;
    const size_t *threads; /* [thread_counts] of each rank */
    size_t thread_counts;
    bool saved;          /* null experts against top-k0 without, on the same tokens */
    size_t least_tokens; /* of a trace of --saved */
    const char *json;    /* a file, "-", or NULL */
} adamoe_bench_over_ranks;

#endif

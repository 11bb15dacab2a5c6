/*
 * What the two ways to bench over ranks share; not for others.
 */
#ifndef ADAMOE_BENCH_OVER_RANKS_PARTS_H
#define ADAMOE_BENCH_OVER_RANKS_PARTS_H

#include "bench/over_ranks_options.h"
#include "bench/spread.h"

#include <jansson.h>

typedef struct over_ranks_sweep {
    const adamoe_bench_over_ranks *options;
    adamoe_spread_setting setting;
    adamoe_machine machine;
    adamoe_spread_layer layer;
    json_t *entries;     /* on rank 0 */
    bool prints;         /* on rank 0 */
    adamoe_status worst; /* a wrong result, or a kernel that cannot run here; the same on all ranks */
} over_ranks_sweep;

/* Keeps the worst, by adamoe_bench_gravity: of equal ones the first. */
void over_ranks_keep(over_ranks_sweep *sweep, const char *name, const adamoe_status *status);

/* "layer/PRESET/KERNEL/tokens:T/routing:R/threads:N/ranks:R[/experts:E][/hot]". */
void over_ranks_name(const over_ranks_sweep *sweep, const char *what, const adamoe_kernel *kernel,
                     size_t tokens, const char *routing, char *name, size_t size);

/* One entry as Google Benchmark writes them, whose counters follow. NULL where there is no memory. */
json_t *over_ranks_entry(const char *name, double seconds);
void over_ranks_set(json_t *entry, const char *key, double value);

/* Wire of a call, on average over the batches, all ranks together. */
void over_ranks_set_wire(json_t *entry, const adamoe_spread_wire *round, size_t batches);

/* Two lines on what travelled. */
void over_ranks_print_traffic(const adamoe_traffic_report *traffic, double bytes_per_call);

/* A line where memory left too few copies of the weights for cold ones. */
void over_ranks_print_cap(const adamoe_spread_variant *variant);

/* Takes what the sweep's machine is and the kernels, one number of tokens after the other. */
adamoe_status over_ranks_layers(over_ranks_sweep *sweep);
adamoe_status over_ranks_saved(over_ranks_sweep *sweep);

#endif

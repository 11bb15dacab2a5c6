/*
 * One layer, timed: random weights of a preset, prepared for one kernel at a time, and benchmarks of kernels
 * on numbers of tokens. Each benchmark is checked against the yardstick on the very call that is timed before
 * the first time is taken.
 *
 * Weights are cold, as they are in a model whose layers take turns: calls go round through copies of the
 * layer and through its experts, so that the bytes touched before a weight is used again exceed twice the
 * last-level cache. Left out: what the machine could reach (rooflines), NUMA policies.
 */
#ifndef ADAMOE_BENCH_LAYER_H
#define ADAMOE_BENCH_LAYER_H

#include "presets.h"

/* What the benchmarks of a run share. */
typedef struct adamoe_bench_layer adamoe_bench_layer;

typedef struct adamoe_bench_options {
    const adamoe_preset *preset;
    uint64_t seed;
    uint32_t threads;
    bool hot; /* one copy of the weights, always the same experts */
} adamoe_bench_options;

/* Allocates no weights yet. Errors: memory, threads. */
adamoe_status adamoe_bench_layer_create(const adamoe_bench_options *options, adamoe_bench_layer **out);
void adamoe_bench_layer_free(adamoe_bench_layer *layer);

/* Registers a benchmark: `layer/PRESET/KERNEL/tokens:T/routing:R/threads:N[/hot]`. Kernels that cannot run
 * here are registered too, and skipped with the reason when they come. Errors: memory. */
adamoe_status adamoe_bench_layer_add(adamoe_bench_layer *layer, const adamoe_kernel *kernel, size_t tokens,
                                     adamoe_pattern pattern);

/* After the run: the worst of what happened to the benchmarks, with the name of one: DIFFERENCE where the
 * check failed; else another error, NOT_SUPPORTED last. */
adamoe_status adamoe_bench_layer_status(const adamoe_bench_layer *layer);

#endif

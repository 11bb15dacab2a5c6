/*
 * One layer, timed: groups of benchmarks that Google Benchmark filters, names and reports. A group is one
 * number of tokens and of threads; its kernels are timed in turn (timing/group.h) when the first of them is
 * to be reported.
 *
 * Weights are cold, as they are in a model whose layers take turns: calls go round through copies of the
 * layer and through its experts, so that the bytes touched before a weight is used again exceed twice the
 * last-level cache; or, if that takes fewer copies, so many are read from elsewhere before each repetition, and no
 * weight is used twice in it.
 */
#ifndef ADAMOE_BENCH_LAYER_H
#define ADAMOE_BENCH_LAYER_H

#include "bench/peers.h"

/* What the benchmarks of a run share. */
typedef struct adamoe_bench_layer adamoe_bench_layer;

/* A group after its times were taken. */
typedef struct adamoe_bench_view {
    const adamoe_preset *preset;
    const adamoe_timing_options *timing;
    const char *routing;
    size_t tokens;
    uint32_t threads;
    const adamoe_machine *machine;     /* where the weights were put; NULL where nothing was asked for */
    const adamoe_bench_member *member; /* [members]; those that are not wanted take no part */
    size_t members;
    const adamoe_peers *peers;     /* or NULL */
    const adamoe_against *against; /* [members] */
} adamoe_bench_view;

typedef struct adamoe_bench_options {
    const adamoe_preset *preset;
    adamoe_pattern pattern;
    const char *recorded; /* a recording of routings that replaces the pattern, or NULL */
    adamoe_timing_options timing;
    adamoe_machine_options machine; /* but for the threads */
    const adamoe_kernel *fallback;
    const adamoe_peers *peers; /* those of the kernels that are others' engines, or NULL */
    void (*shown)(void *context, const adamoe_bench_view *view); /* after each group; may be NULL */
    void *shown_context;
} adamoe_bench_options;

/* Allocates no weights yet. Errors: memory. */
adamoe_status adamoe_bench_layer_create(const adamoe_bench_options *options, adamoe_bench_layer **out);
/* Forgets what was registered with the library, too. */
void adamoe_bench_layer_free(adamoe_bench_layer *layer);

/* Registers a group of benchmarks, `layer/PRESET/KERNEL/tokens:T/routing:R/threads:N[/numa:P][/hot]` each.
 * Kernels that cannot run here are registered too, and skipped with the reason when they come. Errors:
 * memory. */
adamoe_status adamoe_bench_layer_add(adamoe_bench_layer *layer, const adamoe_kernel *const *kernels,
                                     size_t count, size_t tokens, uint32_t threads);

/* After the run: the worst of what happened to the benchmarks, with the name of one: DIFFERENCE where the
 * check failed or a time is impossible (timing/possible.h); else another error, NOT_SUPPORTED last. */
adamoe_status adamoe_bench_layer_status(const adamoe_bench_layer *layer);

/* The order in which codes matter to the one who reads a single one: DIFFERENCE is the largest, OK 0. */
int adamoe_bench_gravity(adamoe_code code);

/* True where a policy or a topology was asked for, and stands in the names. */
bool adamoe_bench_places(const adamoe_bench_options *options);

/* "balanced", "skewed", ... or "recorded". */
const char *adamoe_bench_routing_name(const adamoe_bench_options *options);

/* Logits [tokens, n + m] of what the options ask for. Errors: those of a recording. */
adamoe_status adamoe_bench_logits(const adamoe_bench_options *options, size_t tokens, float *logits);

#endif

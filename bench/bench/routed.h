/*
 * adamoe bench --router: one layer under several routers, on the same tokens.
 */
#ifndef ADAMOE_BENCH_ROUTED_H
#define ADAMOE_BENCH_ROUTED_H

#include "bench/flags.h"
#include "layers/presets.h"
#include "program/machine.h"
#include "routers/routers.h"

typedef struct adamoe_bench_routed {
    const adamoe_preset *preset;
    const adamoe_router *const *router; /* [routers] */
    size_t routers;
    const adamoe_kernel *const *kernel; /* [kernels] */
    size_t kernels;
    const size_t *tokens; /* [token_counts] */
    size_t token_counts;
    const size_t *threads; /* [thread_counts] */
    size_t thread_counts;
    uint64_t seed;
    size_t repetitions;
    adamoe_machine_options machine; /* but for the threads */
    bool prints;                    /* a table for each group, on standard output */
} adamoe_bench_routed;

/* Registers `layer/PRESET/KERNEL/tokens:T/routing:ROUTER/threads:N` for all, runs the library, and reports for each
 * repetition the time of the layer, routing included. Routers take turns within a repetition, in an order that moves on
 * by one. Errors: memory; of the library; of kernels and routers, DIFFERENCE first. */
adamoe_status adamoe_bench_routed_run(const adamoe_bench_routed *options, adamoe_library_flags *flags);

#endif

/*
 * adamoe bench --saved: what null experts save, swept over the number of tokens, as a table and as JSON.
 */
#ifndef ADAMOE_BENCH_SAVED_H
#define ADAMOE_BENCH_SAVED_H

#include "program/options.h"
#include "timing/saved_time.h"

typedef struct adamoe_bench_saved {
    const adamoe_preset *preset;
    adamoe_saved_options measure;
    const adamoe_kernel *const *kernel; /* [kernels] */
    size_t kernels;
    const size_t *tokens; /* [token_counts] */
    size_t token_counts;
    const size_t *threads; /* [thread_counts] */
    size_t thread_counts;
    adamoe_machine_options machine; /* but for the threads */
    const adamoe_kernel *fallback;
    const char *json;                    /* a file, "-", or NULL */
    const adamoe_common_options *common; /* where they come from: never written to */
} adamoe_bench_saved;

/* What can be refused before anything is timed. Errors: BAD_INPUT for a preset without null experts, and for more repetitions
 * than adamoe_saved_judge takes. */
adamoe_status adamoe_bench_saved_check(const adamoe_preset *preset, size_t repetitions);

/* Errors: those of the check; what the measuring reports, a kernel that cannot run
 * here among it; the file. */
adamoe_status adamoe_bench_saved_run(const adamoe_bench_saved *options);

#endif

/*
 * adamoe bench --train: forward and backward of the experts of one layer, as training computes them, as a
 * table and as JSON.
 */
#ifndef ADAMOE_BENCH_TRAIN_H
#define ADAMOE_BENCH_TRAIN_H

#include "timing/bench_machine.h"
#include "layers/presets.h"

typedef struct adamoe_bench_train {
    const adamoe_preset *preset;
    adamoe_pattern pattern;
    uint64_t seed;
    size_t repetitions;
    double least_seconds; /* of one repetition */
    const size_t *tokens; /* [token_counts] */
    size_t token_counts;
    const size_t *threads; /* [thread_counts] */
    size_t thread_counts;
    adamoe_machine_options machine; /* but for the threads */
    const char *json;               /* a file, "-", or NULL */
} adamoe_bench_train;

/* Errors: DIFFERENCE where the gradient is wrong; memory; the file. */
adamoe_status adamoe_bench_train_run(const adamoe_bench_train *options);

#endif

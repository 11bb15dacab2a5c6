/*
 * The flags of Google Benchmark on the command line of `adamoe bench`, and a run of the library with them.
 */
#ifndef ADAMOE_BENCH_FLAGS_H
#define ADAMOE_BENCH_FLAGS_H

#include "program/options.h"

typedef struct adamoe_library_flags {
    char **argument; /* [count], for gbench_run: the program's name first, then the flags */
    int count;
    const char *out;      /* of --benchmark_out, or NULL */
    const char *recorded; /* a file that the run reads, which its report must not replace; or NULL */
    const adamoe_common_options *kernels; /* what brings others */
    const char *other;                    /* a flag that is neither repetitions nor seconds, or NULL */
    bool shows;           /* --benchmark_format is among them: the library prints to standard output */
    size_t repetitions;   /* of --benchmark_repetitions, or BENCHMARK_REPETITIONS, or the default */
    double least_seconds; /* of a repetition; --benchmark_min_time, or BENCHMARK_MIN_TIME, or the default */
} adamoe_library_flags;

/* Takes the library's flags out of arguments[*count]. Errors: numbers of repetitions and seconds that are
 * none; memory. Free argument with free(). */
adamoe_status adamoe_split_flags(int *count, char **arguments, adamoe_library_flags *out);

/* --json FILE says the same in the way of the other verbs. */
void adamoe_flags_set_json(adamoe_library_flags *flags, const char *path);

/* Runs what is registered; the report is in the file whole, or the file is as it was before. A run that only
 * lists names has no report. */
adamoe_status adamoe_run_library(adamoe_library_flags *flags);

#endif

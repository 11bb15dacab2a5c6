/*
 * Google Benchmark for C: register what is to be timed, run it with the library's own flags, get its report
 * as text. Times are taken by the caller and handed over, one for each repetition, because the library times
 * one benchmark after the other, and what is compared must be timed in turn.
 *
 * Left out: fixtures, arguments and complexity, which a context does as well; the library's own loop.
 */
#ifndef ADAMOE_GBENCH_GBENCH_H
#define ADAMOE_GBENCH_GBENCH_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One run of one benchmark; valid during its functions. */
typedef struct gbench_state gbench_state;

/* What is reported. */
typedef struct gbench_functions {
    /* Before anything is reported, once for each benchmark that --benchmark_filter leaves. May be NULL. */
    void (*select)(void *context);
    /* Once for each repetition, 0 .. repetitions - 1: gives its time by gbench_time,
     * and counters, or skips. */
    void (*report)(gbench_state *state, void *context, size_t repetition);
} gbench_functions;

/* Registers a benchmark; reports show this name and nothing added to it. The context must live until
 * gbench_run has returned. False where there is no memory. */
bool gbench_register(const char *name, const gbench_functions *functions, void *context, size_t repetitions);

/* Forgets what was registered. */
void gbench_clear(void);

/* The seconds of this repetition. */
void gbench_time(gbench_state *state, double seconds);

/* Ends the run with an error that the report shows in place of a time. */
void gbench_skip(gbench_state *state, const char *message);

/* A value beside the time. A NaN or an infinite value is left out: the library would write it into its JSON,
 * which has neither. */
void gbench_counter(gbench_state *state, const char *name, double value);

/* A word behind the time. */
void gbench_label(gbench_state *state, const char *label);

/* A line in the report's head. False where there is no memory. */
bool gbench_describe(const char *key, const char *value);

typedef enum gbench_result {
    GBENCH_DONE = 0,
    GBENCH_BAD_FLAG,  /* the message names it */
    GBENCH_NO_MATCH,  /* no benchmark is left to run */
    GBENCH_NO_MEMORY, /* or anything else that C++ reports by an exception */
} gbench_result;

/* What a run leaves behind. The report is in the format of --benchmark_out_format (json where it is not
 * given) and is there where --benchmark_out is among the arguments, unless the run only lists the names of
 * benchmarks: the file is the caller's to write. */
typedef struct gbench_report {
    char message[256];
    char *text; /* zero-terminated, or NULL; given back to gbench_report_free */
    size_t length;
} gbench_report;

/* Runs what was registered. arguments[0] is the program's name, the others are
 * --benchmark_* flags; the array is changed. Prints to standard output in the format of --benchmark_format,
 * or nothing where that flag is not among them. --benchmark_min_time is the caller's business. */
gbench_result gbench_run(int count, char **arguments, gbench_report *report);
void gbench_report_free(gbench_report *report);

#ifdef __cplusplus
}
#endif

#endif

/*
 * Google Benchmark for C: register what is to be timed, run it with the library's own flags, get its report
 * as text. The loop that is timed is on the C++ side; times are real times, because what is timed has threads
 * of its own.
 *
 * Left out: fixtures, arguments and complexity, which a context does as well; timing by several threads.
 */
#ifndef ADAMOE_GBENCH_H
#define ADAMOE_GBENCH_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One run of one benchmark; valid during its functions. */
typedef struct gbench_state gbench_state;

/* What is timed. The library calls all three again, with more iterations each time, until a run takes long
 * enough, and once more for each repetition. */
typedef struct gbench_functions {
    /* Before the loop; may skip the run. May be NULL. */
    void (*prepare)(gbench_state *state, void *context);
    /* Timed. May end the run with gbench_skip. */
    void (*iterate)(gbench_state *state, void *context);
    /* After the loop, unless the run was skipped: the place for counters. May be NULL. */
    void (*finish)(gbench_state *state, void *context);
} gbench_functions;

/* Registers a benchmark; reports show this name and nothing added to it. The context must live until
 * gbench_run has returned. False where there is no memory. */
bool gbench_register(const char *name, const gbench_functions *functions, void *context);

/* Ends the run with an error that the report shows in place of a time. */
void gbench_skip(gbench_state *state, const char *message);

/* A value beside the time, or one for each iteration that the report divides by the time. A NaN or an
 * infinite value is left out: the library would write it into its JSON, which has neither. */
void gbench_counter(gbench_state *state, const char *name, double value);
void gbench_rate(gbench_state *state, const char *name, double per_iteration);

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
 * --benchmark_* flags; the array is changed. Prints to standard output in the format of --benchmark_format.
 */
gbench_result gbench_run(int count, char **arguments, gbench_report *report);
void gbench_report_free(gbench_report *report);

#ifdef __cplusplus
}
#endif

#endif

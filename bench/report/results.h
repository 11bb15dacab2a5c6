/*
 * The results that one report shows.
 *
 * A result is whatever a verb wrote with --json. The reader finds out which verb that was from what is in it;
 * the sections draw what there is, and leave out what there is not. Numbers that a file does not have are
 * NaN, and a dash on the page.
 */
#ifndef ADAMOE_REPORT_RESULTS_H
#define ADAMOE_REPORT_RESULTS_H

#include "adamoe.h"

#include <jansson.h>

/* Which verb wrote a file. */
typedef enum adamoe_result_kind {
    ADAMOE_RESULT_BENCH,
    ADAMOE_RESULT_CHECK,
    ADAMOE_RESULT_EVAL,
    ADAMOE_RESULT_REPRODUCE,
    ADAMOE_RESULT_FLOPS,
    ADAMOE_RESULT_COMPARE,
    ADAMOE_RESULT_GATE,
    ADAMOE_RESULT_INFO,
    ADAMOE_RESULT_ROUTERS,
    ADAMOE_RESULT_SCALE,
    ADAMOE_RESULT_KINDS
} adamoe_result_kind;

extern const char *const adamoe_result_kind_names[ADAMOE_RESULT_KINDS];

typedef struct adamoe_source {
    const char *path;
    adamoe_result_kind kind;
    json_t *document;
} adamoe_source;

/* One benchmark of a layer: medians over its repetitions. */
typedef struct adamoe_timing {
    size_t source;         /* index of the file */
    char *preset, *kernel; /* parts of its name */
    char *setting;         /* the other parts: "routing:balanced, threads:2" */
    size_t tokens;         /* in one call */
    size_t repetitions;    /* 0 where it has no time */
    double seconds;        /* of one call, the median */
    double least, most;    /* its interval, or the extremes where the file has no interval */
    double gflops, gbytes_per_second;
    double roofline_share, share_without_overlap; /* fractions */
    double peak_gflops, peak_gbytes_per_second;   /* what the machine can do, measured in the same run */
    double executed_flops, touched_bytes, load;
    /* of bench --saved, whose names begin with saved/: fractions, against the same tokens at top-k0 */
    bool saved;
    double flops_reduction, bytes_reduction, predicted_time_reduction;
    double time_reduction, time_reduction_low, time_reduction_high;
    const char *error; /* why it has no time; NULL */
} adamoe_timing;

/* One model on one set of questions. */
typedef struct adamoe_evaluated {
    size_t source;
    const char *name;       /* "top-2", "AdaMoE"; "" for eval's own result */
    const char *task;       /* name of the question set */
    const json_t *scores;   /* results.TASK */
    const json_t *document; /* with config, n-samples and adamoe */
} adamoe_evaluated;

/* Kernels that were checked: entries as `adamoe check` writes them. */
typedef struct adamoe_checked {
    size_t source;
    const json_t *kernels;
} adamoe_checked;

/* What `adamoe compare` found; in a result of gate a part of it. */
typedef struct adamoe_compared {
    size_t source;
    const json_t *comparison;
} adamoe_compared;

typedef struct adamoe_report {
    adamoe_source *source; /* [sources] */
    size_t sources;
    adamoe_timing *timing; /* [timings] by file, preset, setting, kernel, tokens */
    size_t timings;
    char **kernel; /* [kernels] names of all that were timed, sorted: a place is a style */
    size_t kernels;
    adamoe_evaluated *evaluated; /* [evaluations] */
    size_t evaluations;
    adamoe_checked *checked; /* [checks] */
    size_t checks;
    adamoe_compared *compared; /* [comparisons] */
    size_t comparisons;
} adamoe_report;

/* Reads result files. Errors (BAD_INPUT) name the file, and what in it is wrong. On failure the caller frees
 * too. */
adamoe_status adamoe_report_read(const char *const *paths, size_t count, adamoe_report *out);
void adamoe_report_free(adamoe_report *report);

/* Adds the benchmarks of a file to the report, and sorts what was added; for adamoe_report_read. */
adamoe_status adamoe_report_add_timings(adamoe_report *report, size_t source);
adamoe_status adamoe_report_sort_timings(adamoe_report *report);

/* Timings first .. first+count-1 that differ in kernel and tokens alone: one picture. */
typedef struct adamoe_panel {
    size_t first, count;
} adamoe_panel;

/* The panel that begins at timing `first`; count is 0 after the last one. */
adamoe_panel adamoe_report_panel(const adamoe_report *report, size_t first);

/* How many timings from `first` on, at most `count`, are of the same kernel: one line of a picture. */
size_t adamoe_report_series(const adamoe_report *report, size_t first, size_t count);

/* Whether some timings are of bench --saved; the others are of throughput. */
bool adamoe_report_has_saved(const adamoe_report *report);
bool adamoe_report_has_throughput(const adamoe_report *report);

/* The kernel's place among all names. */
size_t adamoe_report_style(const adamoe_report *report, const char *kernel);

#endif

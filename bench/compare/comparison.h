/*
 * What two results have in common and where they differ: a list of findings, and the judgement of those that
 * need statistics. How a result is read is compare/check.c's, compare/bench.c's and compare/eval.c's; how a
 * comparison looks, compare/print.c's.
 */
#ifndef ADAMOE_COMPARE_COMPARISON_H
#define ADAMOE_COMPARE_COMPARISON_H

#include "statistics/statistics.h"

#include <jansson.h>

/* What a finding is about. */
typedef enum adamoe_aspect {
    ADAMOE_ASPECT_CHECK = 0,    /* numerics: the status of a case of `adamoe check` */
    ADAMOE_ASPECT_WORK = 1,     /* deterministic counters: executed FLOPs, touched bytes, rows, load */
    ADAMOE_ASPECT_ACCURACY = 2, /* right answers */
    ADAMOE_ASPECT_SPEED = 3,    /* time, relative to something that was timed in the same run */
} adamoe_aspect;

#define ADAMOE_ASPECTS 4

extern const char *const adamoe_aspect_names[ADAMOE_ASPECTS];

typedef enum adamoe_verdict_kind {
    ADAMOE_VERDICT_REGRESSION = 0,
    ADAMOE_VERDICT_MISSING = 1,    /* the base has it, the new result does not */
    ADAMOE_VERDICT_NOT_JUDGED = 2, /* `note` says why */
    ADAMOE_VERDICT_IMPROVED = 3,
    ADAMOE_VERDICT_SAME = 4, /* worth a line all the same */
} adamoe_verdict_kind;

#define ADAMOE_VERDICTS 5

extern const char *const adamoe_verdict_names[ADAMOE_VERDICTS];

typedef struct adamoe_finding {
    adamoe_aspect aspect;
    adamoe_verdict_kind verdict;
    char subject[256];      /* "avx2-f32 experts/d:33/...", "layer/tiny/...", "arc" */
    char measure[64];       /* "status", "executed_flops", "acc", "time" */
    char base[64], now[64]; /* the two values, for people; empty where there is none */
    char note[256];         /* a reason; may be empty */
    /* Of a test, else `tested` is false. The effect is a ratio of times (above 1 is slower), or a difference
     * of accuracies (below 0 is worse). */
    bool tested, worse, relevant; /* in the bad direction; at least the minimum effect */
    double effect;
    adamoe_interval interval;
    double p, adjusted_p;
    double smallest_p; /* that this test could give at all, before the correction */
} adamoe_finding;

typedef struct adamoe_comparison_options {
    double alpha;          /* probability of at least one false alarm in the whole comparison */
    double minimum_effect; /* of a slowdown, as a fraction */
    bool missing_fails;    /* what is missing counts as a regression */
} adamoe_comparison_options;

extern const adamoe_comparison_options adamoe_comparison_defaults; /* 0.05, 0.03, false */

typedef struct adamoe_result_comparison {
    adamoe_comparison_options options;
    adamoe_finding *finding; /* [count] */
    size_t count, capacity;
    size_t unchanged; /* deterministic values that are equal, which have no finding */
    size_t tests;
    bool same_machine; /* what could run must still be able to */
    char notes[1024];  /* lines on what makes the two hard to compare */
} adamoe_result_comparison;

/* Appends a copy. Errors: memory. */
adamoe_status adamoe_add_finding(adamoe_result_comparison *comparison, const adamoe_finding *finding);

/* Appends a line to the notes; what does not fit is left out. */
__attribute__((format(printf, 2, 3))) void adamoe_add_note(adamoe_result_comparison *comparison,
                                                           const char *format, ...);

/* A counter as text, a whole one with all its digits. */
void adamoe_counter_text(char *text, size_t size, double value);

/* Judges what was tested: Holm's correction over all tests of the comparison, then significance and
 * relevance together. A test that could not have become significant, whatever it had found, is not judged.
 * Errors: memory. */
adamoe_status adamoe_judge_comparison(adamoe_result_comparison *comparison);

size_t adamoe_count_verdict(const adamoe_result_comparison *comparison, adamoe_verdict_kind verdict);

/* DIFFERENCE where there is a regression, or something missing that must not be; BAD_INPUT where nothing could be
 * compared, since all is missing or not judged: that proves nothing. */
adamoe_status adamoe_comparison_outcome(const adamoe_result_comparison *comparison);

void adamoe_free_comparison(adamoe_result_comparison *comparison);

/* ----------------------------------------------------------------------------------------- the speed test */

/* Whether something became slower, from log(new time / base time) of pairs that were measured side by side;
 * at most 200. Errors: memory. */
adamoe_status adamoe_compare_pairs(adamoe_result_comparison *comparison, const char *subject,
                                   const double *log_ratio, size_t pairs);

/* The same from two samples of log(time), each relative to a yardstick of its own run. */
adamoe_status adamoe_compare_samples(adamoe_result_comparison *comparison, const char *subject,
                                     const double *base, size_t base_count, const double *now,
                                     size_t now_count);

/* ----------------------------------------------------------------------------------- results of the verbs */

/* How answers are compared: by the per-question results of `adamoe eval --samples`, as JSON arrays of their
 * lines, where both are given; or, where both runs were of the reference on one model, to the last one. */
typedef struct adamoe_sample_logs {
    const json_t *base, *now;
    const char *base_path, *now_path; /* of the logs, for messages */
    bool deterministic;
} adamoe_sample_logs;

/* Adds what two results say, of which each may be a result of check, bench, eval or gate. The paths are for
 * messages. Errors: BAD_INPUT where they are not results of the same verb, or lack what such a result has;
 * memory. */
adamoe_status adamoe_compare_results(adamoe_result_comparison *comparison, const char *base_path,
                                     const json_t *base, const char *now_path, const json_t *now,
                                     adamoe_sample_logs samples);

adamoe_status adamoe_compare_check(adamoe_result_comparison *comparison, const json_t *base,
                                   const json_t *now);
adamoe_status adamoe_compare_bench(adamoe_result_comparison *comparison, const json_t *base,
                                   const json_t *now);
adamoe_status adamoe_compare_eval(adamoe_result_comparison *comparison, const json_t *base, const json_t *now,
                                  adamoe_sample_logs samples);

/* ------------------------------------------------------------------------------------------------- report */

/* What is not as it was, and every test. */
void adamoe_print_comparison(const adamoe_result_comparison *comparison);

/* The same as a section of Markdown, for a pull request, under `title`; written whole or not at all. */
adamoe_status adamoe_write_markdown(const adamoe_result_comparison *comparison, const char *title,
                                    const char *path);

/* NULL where there is no memory. */
json_t *adamoe_comparison_json(const adamoe_result_comparison *comparison);

#endif

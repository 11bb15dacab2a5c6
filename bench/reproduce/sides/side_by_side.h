/*
 * A top-k model against one with null experts on the same questions: accuracy, load, FLOPs and time beside
 * each other, what of the differences is distinguishable from zero, and the paper's rows beneath.
 */
#ifndef ADAMOE_REPRODUCE_SIDES_SIDE_BY_SIDE_H
#define ADAMOE_REPRODUCE_SIDES_SIDE_BY_SIDE_H

#include "eval/evaluate.h"
#include "program/environment.h"
#include "program/options.h"
#include "statistics/statistics.h"

/* The two sides are timed in processes that are started anew, in each of them so many rounds: where memory lies, and
 * what a process meets, differs from one to the next by more than from round to round, so that each process counts
 * once (statistics.h, adamoe_nested_of). */
#define ADAMOE_SIDE_PROCESSES       6
#define ADAMOE_SIDE_LEAST_PROCESSES 3
#define ADAMOE_SIDE_MOST_PROCESSES  20
#define ADAMOE_SIDE_ROUNDS          2
#define ADAMOE_SIDE_MOST_ROUNDS     20
#define ADAMOE_SIDE_MOST_TIMES      (ADAMOE_SIDE_MOST_PROCESSES * ADAMOE_SIDE_MOST_ROUNDS)

/* What differs with a smaller p than this is called distinguishable from zero. */
#define ADAMOE_SIDE_LEVEL 0.05

typedef struct adamoe_side {
    const char *name;
    adamoe_evaluation evaluation;
    adamoe_eval_result result;
    double seconds[ADAMOE_SIDE_MOST_TIMES]; /* [processes * rounds] */
    double stage_seconds
        [ADAMOE_FORWARD_STAGES]; /* of all those rounds; 0 where the kernel does not tell stages */
} adamoe_side;

/* 1 - seconds of the adaptive side / seconds of the vanilla side. */
typedef struct adamoe_time_reduction {
    double median, least, greatest; /* of all rounds */
    double centre;                  /* of the processes' medians, in logarithms of the ratios */
    adamoe_interval interval;       /* 95 %, Student's over the processes */
    double p;                       /* that the centre is 0 */
    double within, between; /* deviations of the logarithms: of a round in its process; of processes */
    adamoe_disturbance disturbance; /* while the processes ran; if disturbed, nothing is claimed about time */
} adamoe_time_reduction;

typedef struct adamoe_side_by_side {
    adamoe_side untouched; /* the model before fine-tuning; only with has_untouched */
    adamoe_side vanilla, adaptive;
    bool has_untouched;
    size_t processes, rounds;                      /* rounds: of each process */
    adamoe_paired_answers accuracy, accuracy_norm; /* of the adaptive side against the vanilla one */
    adamoe_time_reduction time;
} adamoe_side_by_side;

typedef struct adamoe_side_options {
    const char *model;         /* folder; it has null experts */
    const char *baseline;      /* folder of the same architecture without; NULL: `model` as vanilla top-2 */
    const char *untouched;     /* folder; NULL: none */
    const char *questions;     /* file */
    size_t processes;          /* 0: ADAMOE_SIDE_PROCESSES */
    size_t rounds;             /* measured ones in each; 0: ADAMOE_SIDE_ROUNDS */
    const adamoe_world *world; /* NULL: a process alone */
    adamoe_rank_options ranks;
} adamoe_side_options;

/* Sets processes and rounds as the options say, or as they are without. */
void adamoe_side_by_side_count(const adamoe_side_options *options, adamoe_side_by_side *out);

/* Opens and prepares all sides; times that *out has stay. Errors: what the readers report; a model without null experts, a baseline
 * with them, or the two not of one architecture or not with the same tokens (BAD_INPUT). On failure the
 * caller still frees. */
adamoe_status adamoe_side_by_side_open(const adamoe_side_options *options, const adamoe_machine *machine,
                                       const adamoe_kernel *kernel, adamoe_side_by_side *out);

/* In a process of its own, once it has opened the sides without an untouched model: one round unmeasured, then
 * `rounds` of them, both sides batch by batch in turn; a line `seconds VANILLA ADAPTIVE` on standard output for each, and
 * one of the stages of each side, `stages` and a number for each of them. */
adamoe_status adamoe_side_by_side_time(adamoe_side_by_side *sides);

/* Starts the processes one after the other, each of them this program with --time-sides and the same options, before
 * the sides are opened here: nothing else holds memory or processors then. Fills the seconds and sides->time. Errors:
 * those of a process; memory. */
adamoe_status adamoe_side_by_side_time_all(const adamoe_side_options *options,
                                           const adamoe_common_options *common, adamoe_side_by_side *sides);

/* The same over the ranks of a world, whose processes the launcher has started once: as many rounds as there would be
 * processes, in these ones, after one that is not measured. The interval then knows nothing of what differs from start to
 * start. All ranks call it together. */
adamoe_status adamoe_side_by_side_time_here(adamoe_side_by_side *sides);

/* Fills sides->time from the seconds. */
adamoe_status adamoe_side_by_side_judge_time(adamoe_side_by_side *sides);

/* 1 - bytes between the ranks of the adaptive side / those of the vanilla side, as they were sent; NaN on one rank. */
double adamoe_side_by_side_bytes_reduction(const adamoe_side_by_side *sides);

/* Runs both sides and the untouched model once, and judges the answers. The seconds in the results are the medians of
 * those that were timed, and stages have their share of them. */
adamoe_status adamoe_side_by_side_run(adamoe_side_by_side *sides, uint64_t seed);

void adamoe_side_by_side_free(adamoe_side_by_side *sides);

/* -------------------------------------------------------------------------------- reproduce/sides/print.c */

/* Of sides that were run. */
void adamoe_side_by_side_print(const adamoe_side_by_side *sides);
json_t *adamoe_side_by_side_json(const adamoe_side_by_side *sides);

/* One sentence: which differences are distinguishable from zero. */
typedef struct adamoe_conclusion {
    char text[1536];
} adamoe_conclusion;

adamoe_conclusion adamoe_side_by_side_conclusion(const adamoe_side_by_side *sides);

#endif

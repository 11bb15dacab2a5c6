/*
 * A top-k model against one with null experts on the same questions: accuracy, load, FLOPs and time beside
 * each other, what of the differences is distinguishable from zero, and the paper's rows beneath.
 */
#ifndef ADAMOE_REPRODUCE_SIDES_SIDE_BY_SIDE_H
#define ADAMOE_REPRODUCE_SIDES_SIDE_BY_SIDE_H

#include "eval/evaluate.h"
#include "statistics/statistics.h"

/* Measured rounds of the two sides where nobody says how many: with 9 pairs the signed-rank test can give p =
 * 0.004. With fewer than six no p is below 0.05. */
#define ADAMOE_SIDE_ROUNDS       9
#define ADAMOE_SIDE_LEAST_ROUNDS 6
#define ADAMOE_SIDE_MOST_ROUNDS  99

/* What differs with a smaller p than this is called distinguishable from zero. */
#define ADAMOE_SIDE_LEVEL 0.05

typedef struct adamoe_side {
    const char *name;
    adamoe_evaluation evaluation;
    adamoe_eval_result result;
    double seconds[ADAMOE_SIDE_MOST_ROUNDS]; /* of the rounds that were run */
} adamoe_side;

/* 1 - seconds of the adaptive side / seconds of the vanilla side, of the rounds. */
typedef struct adamoe_time_reduction {
    double median, least, greatest;
    double centre;            /* Hodges and Lehmann's, of the logarithms of the ratios */
    adamoe_interval interval; /* 95 %, by inverting the signed-rank test */
    double p;                 /* of that test */
} adamoe_time_reduction;

typedef struct adamoe_side_by_side {
    adamoe_side untouched; /* the model before fine-tuning; only with has_untouched */
    adamoe_side vanilla, adaptive;
    bool has_untouched;
    size_t rounds;
    adamoe_paired_answers accuracy, accuracy_norm; /* of the adaptive side against the vanilla one */
    adamoe_time_reduction time;
} adamoe_side_by_side;

typedef struct adamoe_side_options {
    const char *model;     /* folder; it has null experts */
    const char *baseline;  /* folder of the same architecture without; NULL: `model` as vanilla top-2 */
    const char *untouched; /* folder; NULL: none */
    const char *questions; /* file */
    size_t rounds;         /* measured ones; 0: ADAMOE_SIDE_ROUNDS */
} adamoe_side_options;

/* Opens and prepares all sides. Errors: what the readers report; a model without null experts, a baseline
 * with them, or the two not of one architecture or not with the same tokens (BAD_INPUT). On failure the
 * caller still frees. */
adamoe_status adamoe_side_by_side_open(const adamoe_side_options *options, const adamoe_machine *machine,
                                       const adamoe_kernel *kernel, adamoe_side_by_side *out);

/* Runs the two sides batch by batch in turn, once unmeasured before, then the untouched model once; and
 * judges. The seconds in the results are medians. */
adamoe_status adamoe_side_by_side_run(adamoe_side_by_side *sides, uint64_t seed);

void adamoe_side_by_side_free(adamoe_side_by_side *sides);

/* -------------------------------------------------------------------------------- reproduce/sides/print.c */

/* Of sides that were run. */
void adamoe_side_by_side_print(const adamoe_side_by_side *sides);
json_t *adamoe_side_by_side_json(const adamoe_side_by_side *sides);

/* One sentence: which differences are distinguishable from zero. */
typedef struct adamoe_conclusion {
    char text[768];
} adamoe_conclusion;

adamoe_conclusion adamoe_side_by_side_conclusion(const adamoe_side_by_side *sides);

#endif

/*
 * The answers to single questions that two sample logs of `adamoe eval` hold: that each log is the one of its
 * result, and the pairs that both have.
 */
#ifndef ADAMOE_COMPARE_SAMPLES_H
#define ADAMOE_COMPARE_SAMPLES_H

#include "compare/comparison.h"

/* Holds a log against what its result says of `task`: every line has what is compared, there are as many as
 * questions were scored, and accuracies counted from the lines are those of the result. Errors (BAD_INPUT)
 * name the log and the line, or what does not agree. */
adamoe_status adamoe_check_samples(const char *path, const json_t *samples, const json_t *result,
                                   const char *task);

/* The answers of both models to the questions that both logs have, in the order of the first one. */
typedef struct adamoe_sample_pairs {
    double *difference; /* [count] right now less right before: -1, 0, 1 */
    size_t count, lost, won, base_right;
} adamoe_sample_pairs;

/* Pairs by id; where an id comes several times, the i-th with the i-th. `prediction` names the answer:
 * "prediction" or "prediction_norm". Errors: a question with another right answer or another number of
 * choices in the other log (BAD_INPUT); memory. The caller frees difference, on an error too. */
adamoe_status adamoe_pair_samples(const adamoe_sample_logs *samples, const char *prediction,
                                  adamoe_sample_pairs *out);

#endif

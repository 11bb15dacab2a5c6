/*
 * What was measured of a machine and of the wire between its ranks, for the cost model (cost.h): a file that
 * `adamoe scale --calibrate FILE` writes and `--calibration FILE` reads.
 */
#ifndef ADAMOE_SCALE_CALIBRATION_H
#define ADAMOE_SCALE_CALIBRATION_H

#include "scale/cost.h"

#include <jansson.h>

#define ADAMOE_CALIBRATION_CHECKS 64

/* A run that was made, and what the model says of it. */
typedef struct adamoe_calibration_check {
    char what[96];
    double predicted, measured; /* seconds */
    double low, high; /* 95 % interval of predicted / measured over rounds; 0 where there is none of it */
    bool fitted;      /* the model was fitted to it, so that it proves little */
} adamoe_calibration_check;

/* Hodges and Lehmann's centre of what was saved in each pair, and its 95 % interval. */
typedef struct adamoe_calibration_saving {
    double centre, low, high;
} adamoe_calibration_saving;

/* What null experts saved of a layer that was run, over pairs with top-k0: fractions. */
typedef struct adamoe_calibration_reduction {
    size_t tokens, rounds;                    /* of each rank; pairs, each with tokens of its own */
    double predicted;                         /* of the time, by the model */
    adamoe_calibration_saving bytes, seconds; /* counted; measured with overlap */
} adamoe_calibration_reduction;

#define ADAMOE_CALIBRATION_REDUCTIONS 8

typedef struct adamoe_calibration {
    /* the kernel; no points: not measured */
    char kernel[64];
    size_t hidden_size, intermediate_size, input_bytes;
    size_t experts_in_turn;     /* that an expert was timed among: how cold its weights were */
    uint32_t threads;           /* of a rank */
    double ranks_per_processor; /* at least 1; where each has its own, 1 */
    double expert_bytes;
    adamoe_cost_compute compute;
    /* the wire; ranks below 2: not measured */
    uint32_t ranks;
    adamoe_cost_network network;
    /* rounds that count, and those that were repeated or, where too few were left, counted all the same */
    size_t rounds, disturbed_rounds;
    double
        other_share; /* of the processors of rank 0's machine, used by others, mean of all rounds; written, not read */
    bool disturbed; /* too few rounds were undisturbed: nothing is to be judged by them */
    /* how far the model was from what was measured */
    adamoe_calibration_check check[ADAMOE_CALIBRATION_CHECKS];
    size_t checks;
    adamoe_calibration_reduction reduction[ADAMOE_CALIBRATION_REDUCTIONS]; /* written, not read again */
    size_t reductions;
} adamoe_calibration;

/* The largest |predicted / measured - 1| of the runs that the model was not fitted to, or of those that it was; NaN
 * without any, and where the machine was disturbed. */
double adamoe_calibration_error(const adamoe_calibration *calibration, bool fitted);

/* Runs that the model was not fitted to and was that near, and all of them. */
size_t adamoe_calibration_within(const adamoe_calibration *calibration, double error, size_t *all);

/* One more run. Where there is no room, it is left out. Returns it, or NULL. */
adamoe_calibration_check *adamoe_calibration_add(adamoe_calibration *calibration, const char *what,
                                                 double predicted, double measured, bool fitted);

/* Errors (BAD_INPUT) name the file and the key: what is absent, of another type or out of range. */
adamoe_status adamoe_calibration_read(const char *path, adamoe_calibration *out);

/* The document, which the caller may add to; NULL for want of memory. */
json_t *adamoe_calibration_json(const adamoe_calibration *calibration);

#endif

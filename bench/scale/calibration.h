/*
 * What was measured of a machine and of the wire between its ranks, for the cost model (cost.h): a file that
 * `adamoe scale --calibrate FILE` writes and `--calibration FILE` reads.
 */
#ifndef ADAMOE_SCALE_CALIBRATION_H
#define ADAMOE_SCALE_CALIBRATION_H

#include "scale/cost.h"

#include <jansson.h>

#define ADAMOE_CALIBRATION_CHECKS 32

/* A run that was made, and what the model says of it. */
typedef struct adamoe_calibration_check {
    char what[96];
    double predicted, measured; /* seconds */
} adamoe_calibration_check;

typedef struct adamoe_calibration {
    /* the kernel; no points: not measured */
    char kernel[64];
    size_t hidden_size, intermediate_size, input_bytes;
    uint32_t threads; /* of a rank */
    double expert_bytes;
    adamoe_cost_compute compute;
    /* the wire; ranks below 2: not measured */
    uint32_t ranks;
    adamoe_cost_network network;
    /* how far the model was from what was measured */
    adamoe_calibration_check check[ADAMOE_CALIBRATION_CHECKS];
    size_t checks;
} adamoe_calibration;

/* The largest |predicted / measured - 1|; NaN without checks. */
double adamoe_calibration_error(const adamoe_calibration *calibration);

/* Errors (BAD_INPUT) name the file and the key: what is absent, of another type or out of range. */
adamoe_status adamoe_calibration_read(const char *path, adamoe_calibration *out);

/* The document, which the caller may add to; NULL for want of memory. */
json_t *adamoe_calibration_json(const adamoe_calibration *calibration);

#endif

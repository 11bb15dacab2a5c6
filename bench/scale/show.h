/*
 * What `adamoe scale` found, for people and as JSON.
 */
#ifndef ADAMOE_SCALE_SHOW_H
#define ADAMOE_SCALE_SHOW_H

#include "scale/calibration.h"
#include "scale/predict.h"

#include <jansson.h>

/* With null experts, and at top-k0 without. */
typedef struct adamoe_scale_row {
    uint32_t ranks, group;
    double expert_bytes; /* of the experts' weights that a rank holds in one layer, at most */
    adamoe_scale_result adaptive, baseline;
} adamoe_scale_row;

/* What one order of experts makes of a recording. */
typedef struct adamoe_scale_order_row {
    uint32_t ranks;
    adamoe_expert_order order;
    adamoe_scale_count adaptive, baseline; /* no tokens: there is no recording of the baseline */
} adamoe_scale_order_row;

typedef struct adamoe_scale_text {
    char text[480];
} adamoe_scale_text;

#define ADAMOE_SCALE_ASSUMPTIONS 16

typedef struct adamoe_scale_document {
    const char *subject; /* "mixtral-8x7b", or the path of a config */
    const adamoe_scale_setting *setting;
    const adamoe_scale_side *adaptive, *baseline;
    const adamoe_calibration *calibration; /* NULL: rates and network were given */
    adamoe_scale_text network, kernel;
    adamoe_scale_text assumption[ADAMOE_SCALE_ASSUMPTIONS];
    size_t assumptions;
    const adamoe_scale_row *row;
    size_t rows;
    const adamoe_scale_order_row *order;
    size_t orders;
} adamoe_scale_document;

/* 1 - adaptive / baseline; 0 where the baseline is 0. */
double adamoe_scale_reduction(double adaptive, double baseline);

/* The runs that a calibration was checked with. */
void adamoe_calibration_print(const adamoe_calibration *calibration);

void adamoe_scale_print(const adamoe_scale_document *document);

/* NULL for want of memory. */
json_t *adamoe_scale_json(const adamoe_scale_document *document);

#endif

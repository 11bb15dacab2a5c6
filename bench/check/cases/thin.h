/*
 * Thin cases: one size is that of a real model or of a large tile, all others are 1 to 4, so that the naive
 * reference computes it in milliseconds.
 */
#ifndef ADAMOE_CHECK_CASES_THIN_H
#define ADAMOE_CHECK_CASES_THIN_H

#include "check/cases/cases.h"

/* What is large: rows of one product (inputs of an expert), columns of its result, or terms of its sums. */
typedef enum adamoe_axis { ADAMOE_AXIS_ROWS, ADAMOE_AXIS_COLUMNS, ADAMOE_AXIS_DEPTH } adamoe_axis;

typedef struct adamoe_thin_size {
    adamoe_axis axis;
    size_t size;
    size_t turn; /* small sizes and types of weights change with it */
} adamoe_thin_size;

#define ADAMOE_MOST_THIN_SIZES 96

typedef struct adamoe_thin_sizes {
    adamoe_thin_size at[ADAMOE_MOST_THIN_SIZES];
    size_t count;
} adamoe_thin_sizes;

/* For each tile that the kernel declares, tile - 1, tile, tile + 1, 2 tile, 2 tile + 1, 3 tile and 3 tile + 1; and for
 * those that it does not, sizes that tables and counters end at, and multiples of every likely tile. Each comes
 * with stored weights of float32 too, for kernels that take no others. `tiles` may be NULL. */
adamoe_thin_sizes adamoe_choose_thin_sizes(const adamoe_tiles *tiles, bool exhaustive);

/* Every number of rows up to here: kernels have code of their own for what a block of rows leaves. */
#define ADAMOE_EVERY_COUNT 40

/* A small size, another one for each turn: 1 to 4; 3 or 4 in the tier `exact`, since int8 needs 3 channels to
 * be exact. */
size_t adamoe_thin_small(adamoe_tier tier, size_t turn);

#define ADAMOE_MOST_NOT_TRIED 3

/* What was left out of the above, one text for each tile, e.g. "sizes above 262144 at its tile of 100000
 * columns". */
typedef struct adamoe_not_tried {
    char text[ADAMOE_MOST_NOT_TRIED][96];
    size_t count;
} adamoe_not_tried;

adamoe_not_tried adamoe_thin_cases_not_tried(const adamoe_tiles *tiles, bool exhaustive);

#endif

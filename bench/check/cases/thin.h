/*
 * Thin cases: one size is that of a real model or of a large tile, all others are 1 to 4, so that the naive
 * reference computes it in milliseconds.
 */
#ifndef ADAMOE_CHECK_CASES_THIN_H
#define ADAMOE_CHECK_CASES_THIN_H

#include "check/cases/case_list.h"

/* Adds, for each tile that the kernel declares, sizes of tile - 1, tile, tile + 1, 2 tile + 1 and 3 tile + 1:
 * of both sizes of an expert for tiles of columns and of depth, of one expert's inputs for tiles of rows, and
 * of a dense product likewise. `tier` is exact or bound. `tiles` may be NULL. Errors: memory. */
adamoe_status adamoe_add_thin_cases(adamoe_case_list *list, const adamoe_tiles *tiles, adamoe_tier tier,
                                    bool exhaustive);

/* Adds sizes that no tile names and that tables and counters end at: long vectors, many experts, many rows of
 * a matrix, many tokens, every number of tokens from 1 to 40, many experts of one token. `tier` is exact or
 * bound. Errors: memory. */
adamoe_status adamoe_add_long_cases(adamoe_case_list *list, adamoe_tier tier);

/* Both for gradients, in the tier `bound`. Errors: memory. */
adamoe_status adamoe_add_thin_gradients(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive);

#define ADAMOE_MOST_NOT_TRIED 3

/* What was left out of the above, one text for each tile, e.g. "sizes above 262144 at its tile of 100000
 * columns". */
typedef struct adamoe_not_tried {
    char text[ADAMOE_MOST_NOT_TRIED][96];
    size_t count;
} adamoe_not_tried;

adamoe_not_tried adamoe_thin_cases_not_tried(const adamoe_tiles *tiles, bool exhaustive);

#endif

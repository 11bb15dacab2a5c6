/*
 * The sizes that `adamoe check` goes over: at, below and above a kernel's tiles and twice those, or multiples
 * of 8, 16, 32 and 64 where it names none.
 */
#ifndef ADAMOE_CHECK_CASES_SIZES_H
#define ADAMOE_CHECK_CASES_SIZES_H

#include "adamoe.h"

#define ADAMOE_MOST_SIZES 48

/* The values of one factor of the grid. */
typedef struct adamoe_size_list {
    size_t value[ADAMOE_MOST_SIZES];
    size_t count;
} adamoe_size_list;

/* The sizes of a grid. */
typedef struct adamoe_grid_sizes {
    adamoe_size_list outputs, depths; /* of matrices; a hidden size is both, and so is an intermediate size */
    adamoe_size_list both, tokens;
} adamoe_grid_sizes;

/* No size is above `largest`: tiers that need many calls ask for small ones, and up to 200 get few as well.
 * `tiles` may be NULL. */
adamoe_grid_sizes adamoe_choose_sizes(const adamoe_tiles *tiles, size_t largest);

#endif

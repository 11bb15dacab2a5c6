/*
 * The sizes of thin cases. What they leave out: two large sizes at once, for which the naive reference takes too
 * long.
 */
#include "check/cases/thin.h"

#include <stdio.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* --------------------------------------------------------------------------------------- tiles and their edges */

enum { AXES = 3, EDGES = 5 };

static size_t tile_of(const adamoe_tiles *tiles, adamoe_axis a)
{
    return tiles == NULL              ? 0
           : a == ADAMOE_AXIS_ROWS    ? tiles->rows
           : a == ADAMOE_AXIS_COLUMNS ? tiles->columns
                                      : tiles->depth;
}

/* tile - 1, tile, tile + 1, 2 tile + 1, 3 tile + 1 */
static size_t edge_of(size_t tile, size_t i)
{
    static const size_t times[EDGES] = {1, 1, 1, 2, 3}, plus[EDGES] = {0, 1, 2, 2, 2};
    return times[i] * tile + plus[i] - 1;
}

/* A size along one axis takes about 100 bytes of memory for each unit, in a kernel and in the check. */
static size_t largest_size(adamoe_axis a, bool exhaustive)
{
    return a == ADAMOE_AXIS_ROWS ? exhaustive ? (size_t)1 << 20 : (size_t)1 << 17
           : exhaustive          ? (size_t)1 << 22
                                 : (size_t)1 << 18;
}

static bool is_tried(size_t tile, size_t i, adamoe_axis a, bool exhaustive)
{
    return tile > 1 && edge_of(tile, i) <= largest_size(a, exhaustive);
}

adamoe_not_tried adamoe_thin_cases_not_tried(const adamoe_tiles *tiles, bool exhaustive)
{
    static const char *const names[AXES] = {"rows", "columns", "terms of a sum"};
    adamoe_not_tried none = {.count = 0};
    for (size_t i = 0; i < AXES; ++i) {
        const adamoe_axis a = (adamoe_axis)i;
        const size_t tile = tile_of(tiles, a);
        if (tile > 1 && !is_tried(tile, EDGES - 1, a, exhaustive)) {
            (void)snprintf(none.text[none.count], sizeof none.text[none.count],
                           "sizes above %zu at its tile of %zu %s", largest_size(a, exhaustive), tile,
                           names[a]);
            ++none.count;
        }
    }
    return none;
}

/* -------------------------------------------------------------------------------------------------- sizes */

static void add(adamoe_thin_sizes *list, adamoe_axis axis, size_t size, size_t turn)
{
    list->at[list->count++] = (adamoe_thin_size){axis, size, turn};
}

adamoe_thin_sizes adamoe_choose_thin_sizes(const adamoe_tiles *tiles, bool exhaustive)
{
    /* Longer than a model's hidden size is today; more than 16 bits count. */
    static const size_t long_vectors[] = {9001, 70000};
    static const size_t many_inputs[] = {300, 2049};
    adamoe_thin_sizes list = {.count = 0};
    for (size_t i = 0; i < AXES * EDGES; ++i) {
        const adamoe_axis axis = (adamoe_axis)(i / EDGES);
        const size_t tile = tile_of(tiles, axis);
        if (is_tried(tile, i % EDGES, axis, exhaustive)) {
            add(&list, axis, edge_of(tile, i % EDGES), i % EDGES);
        }
    }
    for (size_t i = 0; i < COUNT_OF(long_vectors); ++i) {
        add(&list, ADAMOE_AXIS_COLUMNS, long_vectors[i], 2 * i);
        add(&list, ADAMOE_AXIS_DEPTH, long_vectors[i], 2 * i);
        add(&list, ADAMOE_AXIS_ROWS, many_inputs[i], 2 * i);
    }
    return list;
}

size_t adamoe_thin_small(adamoe_tier tier, size_t turn)
{
    return tier == ADAMOE_TIER_EXACT ? 3 + turn % 2 : 1 + turn % 4;
}

/*
 * The sizes of thin cases. What they leave out: two large sizes at once, for which the naive reference takes too
 * long.
 */
#include "check/cases/thin.h"

#include <stdio.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* --------------------------------------------------------------------------------------- tiles and their edges */

enum { AXES = 3, EDGES = 7, LARGEST_EDGE = 4 };

static size_t tile_of(const adamoe_tiles *tiles, adamoe_axis a)
{
    return tiles == NULL              ? 0
           : a == ADAMOE_AXIS_ROWS    ? tiles->rows
           : a == ADAMOE_AXIS_COLUMNS ? tiles->columns
                                      : tiles->depth;
}

/* tile - 1, tile, tile + 1, 2 tile + 1, 3 tile + 1, 2 tile, 3 tile */
static size_t edge_of(size_t tile, size_t i)
{
    static const size_t times[EDGES] = {1, 1, 1, 2, 3, 2, 3}, plus[EDGES] = {0, 1, 2, 2, 2, 1, 1};
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
        if (tile > 1 && !is_tried(tile, LARGEST_EDGE, a, exhaustive)) {
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

/* Of two weights that a case of experts gives the size to, the first is stored in float32 at the one turn, the other at
 * the other. */
static void add_in_float32(adamoe_thin_sizes *list, adamoe_axis axis, size_t size)
{
    add(list, axis, size, 3);
    add(list, axis, size, 5);
}

static void add_edges(adamoe_thin_sizes *list, adamoe_axis axis, size_t tile, bool exhaustive)
{
    for (size_t i = 0; i < EDGES; ++i) {
        if (is_tried(tile, i, axis, exhaustive)) {
            add(list, axis, edge_of(tile, i), i);
            add_in_float32(list, axis, edge_of(tile, i));
        }
    }
}

adamoe_thin_sizes adamoe_choose_thin_sizes(const adamoe_tiles *tiles, bool exhaustive)
{
    /* Longer than a model's hidden size is today; more than 16 bits count. */
    static const size_t long_vectors[] = {9001, 70000};
    static const size_t many_inputs[] = {300, 2049};
    /* 2^11 3, 2^10 5, 2^10 7; 2^9 3, 2^8 5, 2^7 7: what fails at several of any block up to those powers of two, or three,
     * five or seven times one, fails at one of them. Sizes of models are such multiples. */
    static const size_t round_vectors[] = {6144, 5120, 7168};
    static const size_t round_inputs[] = {1536, 1280, 896};
    adamoe_thin_sizes list = {.count = 0};
    for (size_t i = 0; i < AXES; ++i) {
        add_edges(&list, (adamoe_axis)i, tile_of(tiles, (adamoe_axis)i), exhaustive);
    }
    for (size_t i = 0; i < COUNT_OF(long_vectors); ++i) {
        add(&list, ADAMOE_AXIS_COLUMNS, long_vectors[i], 2 * i);
        add(&list, ADAMOE_AXIS_DEPTH, long_vectors[i], 2 * i);
        add(&list, ADAMOE_AXIS_ROWS, many_inputs[i], 2 * i);
    }
    for (size_t i = 0; i < COUNT_OF(round_vectors); ++i) {
        add_in_float32(&list, ADAMOE_AXIS_COLUMNS, round_vectors[i]);
        add_in_float32(&list, ADAMOE_AXIS_DEPTH, round_vectors[i]);
        add_in_float32(&list, ADAMOE_AXIS_ROWS, round_inputs[i]);
    }
    return list;
}

size_t adamoe_thin_small(adamoe_tier tier, size_t turn)
{
    return tier == ADAMOE_TIER_EXACT ? 3 + turn % 2 : 1 + turn % 4;
}

/*
 * Lists of sizes without a value twice.
 */
#include "check/cases/sizes.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const size_t usual_sizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 127, 128, 129};
static const size_t usual_tokens[] = {1, 2, 3, 7, 16, 33, 64};

static void add_size(adamoe_size_list *list, size_t value)
{
    for (size_t i = 0; i < list->count; ++i) {
        if (list->value[i] == value) {
            return;
        }
    }
    if (list->count < ADAMOE_MOST_SIZES && value > 0) {
        list->value[list->count++] = value;
    }
}

static void add_sizes(adamoe_size_list *list, const size_t *values, size_t count, size_t largest)
{
    for (size_t i = 0; i < count; ++i) {
        if (values[i] <= largest) {
            add_size(list, values[i]);
        }
    }
}

/* Below, at and above a tile and two of them, where that is not too large for a naive reference. */
static void add_tile(adamoe_size_list *list, uint32_t tile, size_t largest)
{
    for (size_t i = 1; i <= 2; ++i) {
        const size_t edge = i * tile;
        if (tile > 1 && edge <= largest) {
            add_size(list, edge - 1);
            add_size(list, edge);
            add_size(list, edge + 1);
        }
    }
}

adamoe_grid_sizes adamoe_choose_sizes(const adamoe_tiles *tiles, size_t largest)
{
    static const size_t few_sizes[] = {1, 3, 8, 17, 33, 64};
    static const size_t few_tokens[] = {1, 2, 7, 33};
    const adamoe_tiles none = {0, 0, 0}, *t = tiles == NULL ? &none : tiles;
    const bool many = largest > 200;
    adamoe_grid_sizes g = {.both = {.count = 0}};
    adamoe_size_list *lists[] = {&g.outputs, &g.depths, &g.both};
    for (size_t i = 0; i < 3; ++i) {
        /* A block of columns that is too large for this grid says nothing of the tiles within it. */
        const bool columns = t->columns > 1 && t->columns <= largest, depth = t->depth > 1;
        const bool named = i == 0 ? columns : i == 1 ? depth : columns || depth;
        if (many && !named) {
            add_sizes(lists[i], usual_sizes, COUNT_OF(usual_sizes), largest);
        } else {
            add_sizes(lists[i], few_sizes, COUNT_OF(few_sizes), largest);
        }
        add_tile(lists[i], i == 1 ? 0 : t->columns, largest);
        add_tile(lists[i], i == 0 ? 0 : t->depth, largest);
    }
    if (many) {
        add_sizes(&g.tokens, usual_tokens, COUNT_OF(usual_tokens), 64);
    } else {
        add_sizes(&g.tokens, few_tokens, COUNT_OF(few_tokens), 64);
    }
    add_tile(&g.tokens, t->rows, many ? 80 : 40);
    return g;
}

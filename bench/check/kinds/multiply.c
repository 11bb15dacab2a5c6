/*
 * The kind `multiply`: adamoe_kernel.multiply, a dense product; among the rows of the matrix are equal ones.
 */
#include "check/cases/pairwise.h"
#include "check/cases/sizes.h"
#include "check/cases/thin.h"
#include "check/cases/words.h"
#include "check/kinds/kinds.h"
#include "check/kinds/layer_cases.h"
#include "check/kinds/needs.h"
#include "check/tiers/tiers.h"

#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static void print(const adamoe_case *c, adamoe_case_name *name)
{
    adamoe_name_append(name, "/rows:%zu/columns:%zu/count:%zu", c->rows, c->columns, c->tokens);
    adamoe_name_append_magnitude(name, c);
    adamoe_name_append_weights(name, c);
}

static bool parse(const char *text, adamoe_case *c)
{
    if (!adamoe_name_take_size(&text, "/rows:", &c->rows) ||
        !adamoe_name_take_size(&text, "/columns:", &c->columns) ||
        !adamoe_name_take_size(&text, "/count:", &c->tokens)) {
        return false;
    }
    adamoe_name_take_magnitude(&text, c);
    return adamoe_name_take_weights(&text, c);
}

static bool magnitude_fits(const adamoe_case *c)
{
    return c->magnitude == ADAMOE_MAGNITUDE_USUAL ||
           (c->magnitude == ADAMOE_MAGNITUDE_FULL && c->tier == ADAMOE_TIER_BOUND);
}

/* The properties that a dense product has. */
static const adamoe_property properties[] = {ADAMOE_PROPERTY_POISONED_TOKEN, ADAMOE_PROPERTY_REFUSED_MEMORY,
                                             ADAMOE_PROPERTY_REPEATED_CALLS, ADAMOE_PROPERTY_SEVERAL_OBJECTS};

static bool is_property(adamoe_property property)
{
    bool found = false;
    for (size_t i = 0; i < COUNT_OF(properties); ++i) {
        found = found || properties[i] == property;
    }
    return found;
}

static bool fits(const adamoe_case *c)
{
    return magnitude_fits(c) && (c->tier != ADAMOE_TIER_PROPERTY || is_property(c->property)) &&
           c->rows > 0 && c->columns > 0 && adamoe_is_bearable(c->rows, c->columns, 1) &&
           adamoe_is_bearable(c->tokens, c->rows, 1) && adamoe_is_bearable(c->tokens, c->columns, 1);
}

/* -------------------------------------------------------------------------------------------------- cases */

/* What the pairs leave out: longer sums, which kernels split, and no token. */
static const adamoe_case single_cases[] = {
    {.weights = ADAMOE_F32, .tokens = 9, .rows = 16, .columns = 4096},
    {.weights = ADAMOE_BF16, .tokens = 3, .rows = 1031, .columns = 513},
    {.weights = ADAMOE_F16, .tokens = 130, .rows = 257, .columns = 260},
    {.weights = ADAMOE_F32, .tokens = 0, .rows = 17, .columns = 33},
    {.weights = ADAMOE_BF16, .tokens = 0, .rows = 64, .columns = 64},
    /* sums of int8 that are as large as so many terms can make them */
    {.weights = ADAMOE_F32, .tokens = 3, .rows = 5, .columns = 8191, .magnitude = ADAMOE_MAGNITUDE_FULL},
    {.weights = ADAMOE_BF16, .tokens = 33, .rows = 40, .columns = 1100, .magnitude = ADAMOE_MAGNITUDE_FULL},
};

/* For what takes many calls. */
static const adamoe_case small_shapes[] = {
    {.rows = 65, .columns = 33, .tokens = 17, .weights = ADAMOE_F32},
    {.rows = 300, .columns = 700, .tokens = 9, .weights = ADAMOE_BF16},
    {.rows = 17, .columns = 129, .tokens = 66, .weights = ADAMOE_F16},
};

static adamoe_status list_pairs(adamoe_case_list *list, const adamoe_grid_sizes *g)
{
    const size_t values[] = {g->outputs.count, g->depths.count, g->tokens.count, ADAMOE_CASE_DTYPES};
    size_t *rows = NULL, count = 0;
    ADAMOE_TRY(adamoe_pairwise(values, 4, &rows, &count));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        const size_t *row = rows + 4 * i;
        status = adamoe_case_list_add(list, (adamoe_case){.rows = g->outputs.value[row[0]],
                                                          .columns = g->depths.value[row[1]],
                                                          .tokens = g->tokens.value[row[2]],
                                                          .weights = adamoe_case_dtypes[row[3]]});
    }
    free(rows);
    return status;
}

static adamoe_status list_singles(adamoe_case_list *list)
{
    for (size_t i = 0; i < COUNT_OF(single_cases); ++i) {
        ADAMOE_TRY(adamoe_case_list_add(list, single_cases[i]));
    }
    return adamoe_ok();
}

static adamoe_status add_thin(adamoe_case_list *list, size_t rows, size_t columns, size_t count, size_t turn)
{
    return adamoe_case_list_add_new(list,
                                    (adamoe_case){.rows = rows,
                                                  .columns = columns,
                                                  .tokens = count,
                                                  .weights = adamoe_case_dtypes[turn % ADAMOE_CASE_DTYPES]});
}

static adamoe_status list_thin(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    const adamoe_thin_sizes sizes = adamoe_choose_thin_sizes(tiles, exhaustive);
    for (size_t i = 0; i < sizes.count; ++i) {
        const size_t size = sizes.at[i].size, turn = sizes.at[i].turn;
        const size_t one = adamoe_thin_small(list->tier, turn + 1),
                     other = adamoe_thin_small(list->tier, turn + 2);
        ADAMOE_TRY(sizes.at[i].axis == ADAMOE_AXIS_ROWS      ? add_thin(list, one, other, size, turn)
                   : sizes.at[i].axis == ADAMOE_AXIS_COLUMNS ? add_thin(list, size, other, one, turn)
                                                             : add_thin(list, one, size, other, turn));
    }
    for (size_t count = 1; count <= ADAMOE_EVERY_COUNT; ++count) {
        ADAMOE_TRY(add_thin(list, adamoe_thin_small(list->tier, count),
                            adamoe_thin_small(list->tier, count + 1), count, count));
    }
    return adamoe_ok();
}

static adamoe_status list_bitwise(adamoe_case_list *list)
{
    for (size_t i = 0; i < ADAMOE_GUARANTEES * COUNT_OF(small_shapes); ++i) {
        adamoe_case c = small_shapes[i % COUNT_OF(small_shapes)];
        c.guarantee = (adamoe_guarantee)(i / COUNT_OF(small_shapes));
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

static adamoe_status list_properties(adamoe_case_list *list)
{
    for (size_t i = 0; i < COUNT_OF(properties) * COUNT_OF(small_shapes); ++i) {
        adamoe_case c = small_shapes[i % COUNT_OF(small_shapes)];
        c.property = properties[i / COUNT_OF(small_shapes)];
        /* some five hundred calls, also of the reference */
        if (c.property < ADAMOE_PROPERTY_REPEATED_CALLS || c.rows * c.columns < 10000) {
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

static adamoe_status list_all(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    if (list->tier == ADAMOE_TIER_BITWISE) {
        return list_bitwise(list);
    }
    if (list->tier == ADAMOE_TIER_PROPERTY) {
        return list_properties(list);
    }
    const bool exact = list->tier == ADAMOE_TIER_EXACT;
    const size_t largest = exact ? 150 : 300;
    const adamoe_grid_sizes g = adamoe_choose_sizes(tiles, exhaustive ? 2 * largest : largest);
    ADAMOE_TRY(list_pairs(list, &g));
    if (!exact) {
        ADAMOE_TRY(list_singles(list));
    }
    return list_thin(list, tiles, exhaustive);
}

const adamoe_case_kind adamoe_kind_multiply = {
    .name = "multiply",
    .print = print,
    .parse = parse,
    .fits = fits,
    .list = list_all,
    .missing = adamoe_missing_product,
    .run = {[ADAMOE_TIER_EXACT] = adamoe_check_multiply_exact,
            [ADAMOE_TIER_BOUND] = adamoe_check_multiply_bound,
            [ADAMOE_TIER_BITWISE] = adamoe_check_multiply_bitwise,
            [ADAMOE_TIER_PROPERTY] = adamoe_check_multiply_property},
};

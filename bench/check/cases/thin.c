/*
 * Thin cases. What they leave out: two large sizes at once, for which the naive reference takes too long.
 *
 * In the tier `exact` the small sizes are 3 and 4, since int8 needs 3 channels to be exact.
 */
#include "check/cases/thin.h"

#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const adamoe_dtype dtypes[] = {ADAMOE_F32, ADAMOE_BF16, ADAMOE_F16};

/* Two of three experts, so that each token has a true one. */
static const adamoe_mixture few = {2, 1, 2};

/* --------------------------------------------------------------------------------------- tiles and their edges */

typedef enum axis { ROWS, COLUMNS, DEPTH, AXES } axis;

enum { EDGES = 5 };

static size_t tile_of(const adamoe_tiles *tiles, axis a)
{
    return tiles == NULL ? 0 : a == ROWS ? tiles->rows : a == COLUMNS ? tiles->columns : tiles->depth;
}

/* tile - 1, tile, tile + 1, 2 tile + 1, 3 tile + 1 */
static size_t edge_of(size_t tile, size_t i)
{
    static const size_t times[EDGES] = {1, 1, 1, 2, 3}, plus[EDGES] = {0, 1, 2, 2, 2};
    return times[i] * tile + plus[i] - 1;
}

/* A size along one axis takes about 100 bytes of memory for each unit, in a kernel and in the check. */
static size_t largest_size(axis a, bool exhaustive)
{
    return a == ROWS    ? exhaustive ? (size_t)1 << 20 : (size_t)1 << 17
           : exhaustive ? (size_t)1 << 22
                        : (size_t)1 << 18;
}

static bool is_tried(size_t tile, size_t i, axis a, bool exhaustive)
{
    return tile > 1 && edge_of(tile, i) <= largest_size(a, exhaustive);
}

adamoe_not_tried adamoe_thin_cases_not_tried(const adamoe_tiles *tiles, bool exhaustive)
{
    static const char *const names[AXES] = {"rows", "columns", "terms of a sum"};
    adamoe_not_tried none = {.count = 0};
    for (axis a = ROWS; a < AXES; ++a) {
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

/* ------------------------------------------------------------------------------------------ one size of many */

/* A small size, another one for each turn. */
static size_t small(adamoe_tier tier, size_t turn)
{
    return tier == ADAMOE_TIER_EXACT ? 3 + turn % 2 : 1 + turn % 4;
}

/* Few tokens, each with a true expert. */
static adamoe_case expert_of(adamoe_tier tier, size_t hidden_size, size_t intermediate_size, size_t turn)
{
    return (adamoe_case){.tier = tier,
                         .kind = ADAMOE_CASE_EXPERTS,
                         .hidden_size = hidden_size,
                         .intermediate_size = intermediate_size,
                         .tokens = 1 + turn % 4,
                         .mixture = few,
                         .pattern = ADAMOE_PATTERN_RANDOM,
                         .weights = dtypes[turn % COUNT_OF(dtypes)]};
}

/* Both sizes of an expert are columns of one of its matrices and rows of another. */
static adamoe_status add_vectors(adamoe_case_list *list, adamoe_tier tier, size_t size, size_t turn)
{
    ADAMOE_TRY(adamoe_case_list_add_new(list, expert_of(tier, size, small(tier, turn), turn)));
    return adamoe_case_list_add_new(list, expert_of(tier, small(tier, turn + 2), size, turn + 1));
}

/* All inputs go to one of two experts, and to the other one or none. */
static adamoe_status add_inputs(adamoe_case_list *list, adamoe_tier tier, size_t size, size_t turn)
{
    adamoe_case c = expert_of(tier, 4, 3, turn);
    c.tokens = size;
    c.pattern = ADAMOE_PATTERN_ONE;
    return adamoe_case_list_add_new(list, c);
}

static adamoe_status add_product(adamoe_case_list *list, adamoe_tier tier, size_t rows, size_t columns,
                                 size_t count, size_t turn)
{
    return adamoe_case_list_add_new(list, (adamoe_case){.tier = tier,
                                                        .kind = ADAMOE_CASE_MULTIPLY,
                                                        .rows = rows,
                                                        .columns = columns,
                                                        .tokens = count,
                                                        .weights = dtypes[turn % COUNT_OF(dtypes)]});
}

static adamoe_status add_along(adamoe_case_list *list, adamoe_tier tier, axis a, size_t size, size_t turn)
{
    const size_t one = small(tier, turn + 1), other = small(tier, turn + 2);
    switch (a) {
    case ROWS:
        ADAMOE_TRY(add_inputs(list, tier, size, turn));
        return add_product(list, tier, one, other, size, turn);
    case COLUMNS:
        ADAMOE_TRY(add_vectors(list, tier, size, turn));
        return add_product(list, tier, size, other, one, turn);
    default:
        ADAMOE_TRY(add_vectors(list, tier, size, turn));
        return add_product(list, tier, one, size, other, turn);
    }
}

adamoe_status adamoe_add_thin_cases(adamoe_case_list *list, const adamoe_tiles *tiles, adamoe_tier tier,
                                    bool exhaustive)
{
    for (axis a = ROWS; a < AXES; ++a) {
        const size_t tile = tile_of(tiles, a);
        for (size_t i = 0; i < EDGES; ++i) {
            if (is_tried(tile, i, a, exhaustive)) {
                ADAMOE_TRY(add_along(list, tier, a, edge_of(tile, i), i));
            }
        }
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------ sizes that nobody names */

/* Longer than a model's hidden size is today; more than 16 bits count. */
static const size_t long_vectors[] = {9001, 70000};
static const size_t many_inputs[] = {300, 2049};

/* Of many experts, and of many for one token; every expert has rows. */
static const adamoe_case many_experts[] = {
    {.mixture = {300, 20, 2}, .pattern = ADAMOE_PATTERN_BALANCED, .tokens = 320},
    {.mixture = {1030, 10, 2}, .pattern = ADAMOE_PATTERN_BALANCED, .tokens = 1100},
    {.mixture = {12, 0, 12}, .pattern = ADAMOE_PATTERN_RANDOM, .tokens = 5},
    {.mixture = {40, 8, 33}, .pattern = ADAMOE_PATTERN_RANDOM, .tokens = 7},
    /* identity experts of tokens without a row, or with some */
    {.mixture = {2, 2, 2}, .pattern = ADAMOE_PATTERN_NULL, .null_kind = ADAMOE_NULL_IDENTITY, .tokens = 300},
    {.mixture = {2, 2, 2}, .pattern = ADAMOE_PATTERN_NULL, .null_kind = ADAMOE_NULL_IDENTITY, .tokens = 2049},
    {.mixture = {4, 8, 2},
     .pattern = ADAMOE_PATTERN_SKEWED,
     .null_kind = ADAMOE_NULL_IDENTITY,
     .tokens = 2049},
};

static adamoe_status add_many_experts(adamoe_case_list *list, adamoe_tier tier)
{
    for (size_t i = 0; i < COUNT_OF(many_experts); ++i) {
        adamoe_case c = many_experts[i];
        c.tier = tier;
        c.kind = ADAMOE_CASE_EXPERTS;
        c.hidden_size = 4;
        c.intermediate_size = 3;
        c.weights = dtypes[i % COUNT_OF(dtypes)];
        ADAMOE_TRY(adamoe_case_list_add_new(list, c));
    }
    return adamoe_ok();
}

/* Kernels have code of their own for what a block of rows leaves. */
static adamoe_status add_every_count(adamoe_case_list *list, adamoe_tier tier)
{
    enum { MOST = 40 };
    for (size_t count = 1; count <= MOST; ++count) {
        ADAMOE_TRY(add_inputs(list, tier, count, count));
        ADAMOE_TRY(add_product(list, tier, small(tier, count), small(tier, count + 1), count, count));
    }
    return adamoe_ok();
}

adamoe_status adamoe_add_long_cases(adamoe_case_list *list, adamoe_tier tier)
{
    for (size_t i = 0; i < COUNT_OF(long_vectors); ++i) {
        ADAMOE_TRY(add_along(list, tier, COLUMNS, long_vectors[i], 2 * i));
        ADAMOE_TRY(add_along(list, tier, DEPTH, long_vectors[i], 2 * i));
        ADAMOE_TRY(add_along(list, tier, ROWS, many_inputs[i], 2 * i));
    }
    ADAMOE_TRY(add_many_experts(list, tier));
    return add_every_count(list, tier);
}

/* ---------------------------------------------------------------------------------------------- gradients */

/* The same cases, but those that a backward pass does not have, in float32. */
adamoe_status adamoe_add_thin_gradients(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    adamoe_case_list forward = {NULL, 0, 0};
    adamoe_status status = adamoe_add_thin_cases(&forward, tiles, ADAMOE_TIER_BOUND, exhaustive);
    if (status.code == ADAMOE_OK) {
        status = adamoe_add_long_cases(&forward, ADAMOE_TIER_BOUND);
    }
    for (size_t i = 0; i < forward.count && status.code == ADAMOE_OK; ++i) {
        adamoe_case c = forward.cases[i];
        c.weights = ADAMOE_F32;
        if (c.kind == ADAMOE_CASE_EXPERTS && c.mixture.experts <= ADAMOE_MOST_GRADIENT_EXPERTS) {
            c.kind = ADAMOE_CASE_GRADIENT;
            status = adamoe_case_list_add_new(list, c);
        }
    }
    free(forward.cases);
    return status;
}

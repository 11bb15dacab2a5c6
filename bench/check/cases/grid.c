/*
 * The grid of `adamoe check`. Kinds of routing with their numbers of experts are one factor, because not all
 * of them fit together. Any two values of two factors meet in some case of the tier `bound`; other tiers take
 * fewer sizes, and the same kinds. What leaves the experts without work stands beside the grid, so that every
 * pair meets in a case that can prove something.
 */
#include "check/cases/models.h"
#include "check/cases/sizes.h"
#include "check/cases/pairwise.h"
#include "check/cases/thin.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const adamoe_dtype dtypes[] = {ADAMOE_F32, ADAMOE_BF16, ADAMOE_F16};

typedef struct routing_kind {
    adamoe_mixture mixture;
    adamoe_pattern pattern;
    adamoe_null_kind null_kind;
    bool dispatch;
} routing_kind;

#define ZERO     ADAMOE_NULL_ZERO
#define IDENTITY ADAMOE_NULL_IDENTITY

static const routing_kind routing_kinds[] = {
    /* AdaMoE's own numbers */
    {{8, 8, 3}, ADAMOE_PATTERN_BALANCED, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_SKEWED, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_ONE, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_LONE, ZERO, false},
    {{8, 40, 8}, ADAMOE_PATTERN_SKEWED, ZERO, false},
    {{4, 7, 4}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* no null experts: vanilla, many small experts, a dense layer */
    {{8, 0, 2}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    {{32, 0, 4}, ADAMOE_PATTERN_SKEWED, ZERO, false},
    {{1, 0, 1}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* one true expert among null experts */
    {{1, 1, 1}, ADAMOE_PATTERN_BALANCED, ZERO, false},
    {{1, 3, 2}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* everything selected */
    {{3, 5, 8}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    {{5, 0, 5}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* null experts that pass their input on */
    {{8, 8, 3}, ADAMOE_PATTERN_SKEWED, IDENTITY, false},
    {{2, 2, 4}, ADAMOE_PATTERN_RANDOM, IDENTITY, false},
    /* inputs scaled by the plan */
    {{8, 8, 3}, ADAMOE_PATTERN_RANDOM, ZERO, true},
};

#define EXPERTS .kind = ADAMOE_CASE_EXPERTS, .mixture = {4, 4, 3}, .pattern = ADAMOE_PATTERN_SKEWED

static const adamoe_case single_cases[] = {
    /* longer sums, which kernels split: with few tokens, so that the reference is quick */
    {EXPERTS, .weights = ADAMOE_F32, .tokens = 5, .hidden_size = 1031, .intermediate_size = 257},
    {EXPERTS, .weights = ADAMOE_BF16, .tokens = 5, .hidden_size = 256, .intermediate_size = 1024},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_F32, .tokens = 9, .rows = 16, .columns = 4096},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_BF16, .tokens = 3, .rows = 1031, .columns = 513},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_F16, .tokens = 130, .rows = 257, .columns = 260},
    /* more rows than 16 bits count */
    {.kind = ADAMOE_CASE_EXPERTS,
     .weights = ADAMOE_F32,
     .tokens = 65600,
     .hidden_size = 1,
     .intermediate_size = 1,
     .mixture = {3, 0, 1},
     .pattern = ADAMOE_PATTERN_RANDOM},
    /* no token */
    {EXPERTS, .weights = ADAMOE_F32, .tokens = 0, .hidden_size = 17, .intermediate_size = 33},
    {EXPERTS, .weights = ADAMOE_BF16, .tokens = 0, .hidden_size = 64, .intermediate_size = 64},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_F32, .tokens = 0, .rows = 17, .columns = 33},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_BF16, .tokens = 0, .rows = 64, .columns = 64},
};

/* -------------------------------------------------------------------------------------------------- cases */

static adamoe_case experts_case(adamoe_tier tier, const adamoe_grid_sizes *g, const size_t *row)
{
    const routing_kind *kind = &routing_kinds[row[3]];
    return (adamoe_case){.tier = tier,
                         .kind = ADAMOE_CASE_EXPERTS,
                         .hidden_size = g->both.value[row[0]],
                         .intermediate_size = g->both.value[row[1]],
                         .tokens = g->tokens.value[row[2]],
                         .mixture = kind->mixture,
                         .pattern = kind->pattern,
                         .null_kind = kind->null_kind,
                         .dispatch = kind->dispatch,
                         .weights = dtypes[row[4]]};
}

static adamoe_case multiply_case(adamoe_tier tier, const adamoe_grid_sizes *g, const size_t *row)
{
    return (adamoe_case){.tier = tier,
                         .kind = ADAMOE_CASE_MULTIPLY,
                         .rows = g->outputs.value[row[0]],
                         .columns = g->depths.value[row[1]],
                         .tokens = g->tokens.value[row[2]],
                         .weights = dtypes[row[3]]};
}

/* All pairs of sizes, tokens, kinds of routing and dtypes. */
static adamoe_status add_experts(adamoe_case_list *list, adamoe_tier tier, const adamoe_grid_sizes *g)
{
    const size_t values[] = {g->both.count, g->both.count, g->tokens.count, COUNT_OF(routing_kinds),
                             COUNT_OF(dtypes)};
    size_t *rows = NULL, count = 0;
    ADAMOE_TRY(adamoe_pairwise(values, 5, &rows, &count));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        status = adamoe_case_list_add(list, experts_case(tier, g, rows + 5 * i));
    }
    free(rows);
    return status;
}

static adamoe_status add_multiply(adamoe_case_list *list, adamoe_tier tier, const adamoe_grid_sizes *g)
{
    const size_t values[] = {g->outputs.count, g->depths.count, g->tokens.count, COUNT_OF(dtypes)};
    size_t *rows = NULL, count = 0;
    ADAMOE_TRY(adamoe_pairwise(values, 4, &rows, &count));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        status = adamoe_case_list_add(list, multiply_case(tier, g, rows + 4 * i));
    }
    free(rows);
    return status;
}

/* Every hidden size with tokens that select null experts alone. */
static adamoe_status add_null_cases(adamoe_case_list *list, const adamoe_grid_sizes *g)
{
    for (size_t i = 0; i < 2 * g->both.count; ++i) {
        ADAMOE_TRY(
            adamoe_case_list_add(list, (adamoe_case){.tier = ADAMOE_TIER_BOUND,
                                                     .kind = ADAMOE_CASE_EXPERTS,
                                                     .hidden_size = g->both.value[i / 2],
                                                     .intermediate_size = 16,
                                                     .tokens = g->tokens.value[i / 2 % g->tokens.count],
                                                     .mixture = {4, 4, 3},
                                                     .pattern = ADAMOE_PATTERN_NULL,
                                                     .null_kind = i % 2 == 0 ? ZERO : IDENTITY,
                                                     .weights = dtypes[i / 2 % COUNT_OF(dtypes)]}));
    }
    return adamoe_ok();
}

static adamoe_status add_bound(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    const adamoe_grid_sizes g = adamoe_choose_sizes(tiles, exhaustive ? 600 : 300);
    ADAMOE_TRY(add_experts(list, ADAMOE_TIER_BOUND, &g));
    ADAMOE_TRY(add_null_cases(list, &g));
    ADAMOE_TRY(add_multiply(list, ADAMOE_TIER_BOUND, &g));
    for (size_t i = 0; i < COUNT_OF(single_cases); ++i) {
        adamoe_case c = single_cases[i];
        c.tier = ADAMOE_TIER_BOUND;
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    ADAMOE_TRY(adamoe_add_thin_cases(list, tiles, ADAMOE_TIER_BOUND, exhaustive));
    return adamoe_add_long_cases(list, ADAMOE_TIER_BOUND);
}

/* A few shapes for what takes many calls: odd ones, one within a tile, one of several. */
static const adamoe_case small_shapes[] = {
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 33,
     .intermediate_size = 17,
     .tokens = 19,
     .mixture = {8, 8, 3},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .weights = ADAMOE_F32},
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 64,
     .intermediate_size = 96,
     .tokens = 40,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_SKEWED,
     .weights = ADAMOE_BF16},
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 129,
     .intermediate_size = 65,
     .tokens = 7,
     .mixture = {8, 0, 2},
     .pattern = ADAMOE_PATTERN_BALANCED,
     .weights = ADAMOE_F32},
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 17,
     .intermediate_size = 130,
     .tokens = 33,
     .mixture = {3, 5, 8},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .weights = ADAMOE_F16},
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 48,
     .intermediate_size = 31,
     .tokens = 65,
     .mixture = {8, 8, 3},
     .pattern = ADAMOE_PATTERN_ONE,
     .null_kind = IDENTITY,
     .weights = ADAMOE_F32},
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 40,
     .intermediate_size = 24,
     .tokens = 5,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .dispatch = true,
     .weights = ADAMOE_F32},
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 300,
     .intermediate_size = 520,
     .tokens = 9,
     .mixture = {2, 2, 2},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .weights = ADAMOE_F32},
    /* an expert with more rows than most blocks have */
    {.kind = ADAMOE_CASE_EXPERTS,
     .hidden_size = 9,
     .intermediate_size = 8,
     .tokens = 300,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_ONE,
     .weights = ADAMOE_F32},
    {.kind = ADAMOE_CASE_MULTIPLY, .rows = 65, .columns = 33, .tokens = 17, .weights = ADAMOE_F32},
    {.kind = ADAMOE_CASE_MULTIPLY, .rows = 300, .columns = 700, .tokens = 9, .weights = ADAMOE_BF16},
    {.kind = ADAMOE_CASE_MULTIPLY, .rows = 17, .columns = 129, .tokens = 66, .weights = ADAMOE_F16},
};

static adamoe_status add_bitwise(adamoe_case_list *list)
{
    for (size_t g = 0; g < ADAMOE_GUARANTEES; ++g) {
        for (size_t i = 0; i < COUNT_OF(small_shapes); ++i) {
            adamoe_case c = small_shapes[i];
            c.tier = ADAMOE_TIER_BITWISE;
            c.guarantee = (adamoe_guarantee)g;
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

static adamoe_status add_properties(adamoe_case_list *list)
{
    for (size_t p = 0; p < ADAMOE_PROPERTIES; ++p) {
        for (size_t i = 0; i < COUNT_OF(small_shapes); ++i) {
            adamoe_case c = small_shapes[i];
            c.tier = ADAMOE_TIER_PROPERTY;
            c.property = (adamoe_property)p;
            if (c.kind == ADAMOE_CASE_EXPERTS || p == ADAMOE_PROPERTY_REFUSED_MEMORY) {
                ADAMOE_TRY(adamoe_case_list_add(list, c));
            }
        }
    }
    return adamoe_ok();
}

/* Values at the ends of what float32 holds. */
static adamoe_status add_magnitudes(adamoe_case_list *list)
{
    for (size_t i = 0; i < 6; ++i) {
        for (size_t m = ADAMOE_MAGNITUDE_DENORMAL; m <= ADAMOE_MAGNITUDE_HUGE; ++m) {
            adamoe_case c = small_shapes[i];
            c.tier = ADAMOE_TIER_BOUND;
            c.magnitude = (adamoe_magnitude)m;
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

/* What Soft MoE asks of a kernel: as many inputs as rows, and rows in the sums of many tokens. */
static adamoe_status add_slots(adamoe_case_list *list)
{
    for (size_t i = 0; i < COUNT_OF(small_shapes); ++i) {
        adamoe_case c = small_shapes[i];
        c.tier = ADAMOE_TIER_EXACT;
        c.slots = true;
        if (c.kind == ADAMOE_CASE_EXPERTS && c.null_kind == ZERO && c.tokens < 40) {
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- gradients */

/* The last kind of routing scales its inputs, which no plan of a routing does. */
static adamoe_status add_gradient_pairs(adamoe_case_list *list, adamoe_tier tier, const adamoe_grid_sizes *g)
{
    const size_t values[] = {g->both.count, g->both.count, g->tokens.count, COUNT_OF(routing_kinds) - 1};
    size_t *rows = NULL, count = 0;
    ADAMOE_TRY(adamoe_pairwise(values, 4, &rows, &count));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        const size_t row[] = {rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3], 0};
        adamoe_case c = experts_case(tier, g, row);
        c.kind = ADAMOE_CASE_GRADIENT;
        status = adamoe_case_list_add(list, c);
    }
    free(rows);
    return status;
}

/* What the pairs leave out: no work for the experts, more rows or longer sums than a block has. */
static const adamoe_case gradient_shapes[] = {
    {.hidden_size = 17,
     .intermediate_size = 33,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_NULL,
     .tokens = 7},
    {.hidden_size = 64,
     .intermediate_size = 8,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_NULL,
     .tokens = 33,
     .null_kind = IDENTITY},
    {.hidden_size = 17, .intermediate_size = 33, .mixture = {4, 4, 3}, .pattern = ADAMOE_PATTERN_SKEWED},
    {.hidden_size = 17,
     .intermediate_size = 9,
     .mixture = {2, 2, 2},
     .pattern = ADAMOE_PATTERN_ONE,
     .tokens = 601},
    {.hidden_size = 33,
     .intermediate_size = 300,
     .mixture = {3, 3, 2},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .tokens = 9},
    {.hidden_size = 520,
     .intermediate_size = 40,
     .mixture = {2, 2, 2},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .tokens = 9},
};

static adamoe_status add_small_gradients(adamoe_case_list *list, adamoe_case like)
{
    for (size_t i = 0; i < COUNT_OF(small_shapes); ++i) {
        adamoe_case c = small_shapes[i];
        if (c.kind == ADAMOE_CASE_EXPERTS && !c.dispatch && c.hidden_size <= 129) {
            c.kind = ADAMOE_CASE_GRADIENT;
            c.weights = ADAMOE_F32;
            c.tier = like.tier;
            c.guarantee = like.guarantee;
            c.magnitude = like.magnitude;
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

static adamoe_status add_gradients(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    const adamoe_grid_sizes g = adamoe_choose_sizes(tiles, exhaustive ? 150 : 70);
    ADAMOE_TRY(add_gradient_pairs(list, ADAMOE_TIER_EXACT, &g));
    ADAMOE_TRY(add_gradient_pairs(list, ADAMOE_TIER_BOUND, &g));
    for (size_t i = 0; i < 2 * COUNT_OF(gradient_shapes); ++i) {
        adamoe_case c = gradient_shapes[i / 2];
        c.tier = i % 2 == 0 ? ADAMOE_TIER_EXACT : ADAMOE_TIER_BOUND;
        c.kind = ADAMOE_CASE_GRADIENT;
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    for (size_t m = ADAMOE_MAGNITUDE_DENORMAL; m <= ADAMOE_MAGNITUDE_HUGE; ++m) {
        ADAMOE_TRY(add_small_gradients(
            list, (adamoe_case){.tier = ADAMOE_TIER_BOUND, .magnitude = (adamoe_magnitude)m}));
    }
    for (size_t guarantee = 0; guarantee < ADAMOE_GUARANTEE_PLACEMENT; ++guarantee) {
        ADAMOE_TRY(add_small_gradients(
            list, (adamoe_case){.tier = ADAMOE_TIER_BITWISE, .guarantee = (adamoe_guarantee)guarantee}));
    }
    return adamoe_add_thin_gradients(list, tiles, exhaustive);
}

static adamoe_status add_routes(adamoe_case_list *list)
{
    static const adamoe_mixture mixtures[] = {{8, 8, 3}, {4, 4, 8},    {1, 0, 1}, {1, 7, 2},    {5, 0, 5},
                                              {3, 6, 4}, {64, 32, 12}, {2, 2, 1}, {300, 20, 40}};
    static const size_t tokens[] = {0, 1, 7, 33};
    enum { LARGE = COUNT_OF(mixtures) - 1 }; /* more tokens, experts and places than tables have */
    for (size_t i = 0; i < COUNT_OF(mixtures); ++i) {
        for (size_t kind = 0; kind < ADAMOE_LOGITS_KINDS; ++kind) {
            const adamoe_case c = {.tier = ADAMOE_TIER_ROUTING,
                                   .kind = ADAMOE_CASE_ROUTE,
                                   .mixture = mixtures[i],
                                   .tokens = i == LARGE                  ? 200
                                             : kind >= ADAMOE_LOGITS_NAN ? tokens[1 + (i + kind) % 3]
                                                                         : tokens[(i + kind) % 4],
                                   .logits = (adamoe_logits_kind)kind,
                                   .norm = (adamoe_norm)((i + kind) % 3)};
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
        const adamoe_case c = {.tier = ADAMOE_TIER_ROUTING,
                               .kind = ADAMOE_CASE_LOGITS,
                               .hidden_size = 33 * i + 31,
                               .mixture = mixtures[i],
                               .tokens = i == LARGE ? 200 : 65,
                               .weights = dtypes[i % COUNT_OF(dtypes)]};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

static adamoe_status add_attention(adamoe_case_list *list)
{
    static const size_t shapes[][5] = {
        /* heads, key-value heads, head_dim, window, tokens */
        {1, 1, 1, 0, 1},
        {4, 2, 8, 0, 9},
        {6, 2, 16, 5, 17},
        {4, 4, 7, 0, 33},
        {8, 1, 64, 16, 40},
        {3, 1, 15, 1, 5},
        {2, 2, 33, 64, 70},
        {9, 3, 32, 2, 8},
        {4, 2, 128, 7, 12},
        {6, 3, 20, 30, 31},
        /* more keys, wider heads, more heads than tables have, one at a time */
        {2, 1, 4, 0, 300},
        {1, 1, 5, 200, 300},
        {2, 2, 256, 0, 5},
        {32, 32, 3, 0, 7},
        {36, 12, 4, 5, 9}};
    enum { HUGE_SHAPES = 6 }; /* of those, once more with scores whose exp overflows */
    for (size_t i = 0; i < 2 * (COUNT_OF(shapes) + HUGE_SHAPES); ++i) {
        const bool huge = i / 2 >= COUNT_OF(shapes);
        const size_t *shape = shapes[i / 2 % COUNT_OF(shapes)];
        ADAMOE_TRY(adamoe_case_list_add(
            list, (adamoe_case){.tier = ADAMOE_TIER_BOUND,
                                .magnitude = huge ? ADAMOE_MAGNITUDE_HUGE : ADAMOE_MAGNITUDE_USUAL,
                                .kind = ADAMOE_CASE_ATTENTION,
                                .heads = shape[0],
                                .key_value_heads = shape[1],
                                .head_dim = shape[2],
                                .window = shape[3],
                                .tokens = shape[4],
                                .shared = i % 2 == 1}));
    }
    return adamoe_ok();
}

static adamoe_status add_models(adamoe_case_list *list)
{
    for (size_t i = 0; i < ADAMOE_CHECK_MODELS; ++i) {
        const adamoe_case c = {.tier = ADAMOE_TIER_MODEL, .kind = ADAMOE_CASE_MODEL, .model = i};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

static adamoe_status add_all(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    const adamoe_grid_sizes few = adamoe_choose_sizes(tiles, exhaustive ? 300 : 150);
    ADAMOE_TRY(add_experts(list, ADAMOE_TIER_EXACT, &few));
    ADAMOE_TRY(add_slots(list));
    ADAMOE_TRY(add_multiply(list, ADAMOE_TIER_EXACT, &few));
    ADAMOE_TRY(adamoe_add_thin_cases(list, tiles, ADAMOE_TIER_EXACT, exhaustive));
    ADAMOE_TRY(adamoe_add_long_cases(list, ADAMOE_TIER_EXACT));
    ADAMOE_TRY(add_bound(list, tiles, exhaustive));
    ADAMOE_TRY(add_magnitudes(list));
    ADAMOE_TRY(add_bitwise(list));
    ADAMOE_TRY(add_properties(list));
    ADAMOE_TRY(add_gradients(list, tiles, exhaustive));
    ADAMOE_TRY(add_attention(list));
    ADAMOE_TRY(add_routes(list));
    return add_models(list);
}

adamoe_status adamoe_check_grid(const adamoe_tiles *tiles, bool exhaustive, adamoe_case **out, size_t *count)
{
    adamoe_case_list list = {NULL, 0, 0};
    const adamoe_status status = add_all(&list, tiles, exhaustive);
    if (status.code != ADAMOE_OK) {
        free(list.cases);
        return status;
    }
    *out = list.cases;
    *count = list.count;
    return adamoe_ok();
}

/*
 * The kind `experts`: adamoe_kernel.experts.
 *
 * Any two values of two factors (sizes, tokens, kinds of routing, types of weights) meet in some case of the
 * tier `bound`, and of `exact` with smaller sizes; other tiers take a few shapes. What leaves the experts
 * without work stands beside the pairs, so that every pair meets in a case that can prove something.
 */
#include "check/cases/pairwise.h"
#include "check/cases/sizes.h"
#include "check/cases/words.h"
#include "check/kinds/kinds.h"
#include "check/kinds/layer_cases.h"
#include "check/tiers/tiers.h"

#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* An identity expert passes on the input of its token, which slots do not have. */
static bool slots_fit(const adamoe_case *c)
{
    return !c->slots || (c->tier == ADAMOE_TIER_EXACT && c->null_kind == ADAMOE_NULL_ZERO &&
                         adamoe_is_bearable(c->tokens, c->tokens, c->mixture.top_k));
}

static bool fits(const adamoe_case *c)
{
    return adamoe_layer_case_fits(c) && slots_fit(c);
}

/* -------------------------------------------------------------------------------------------------- cases */

#define LONG .mixture = {4, 4, 3}, .pattern = ADAMOE_PATTERN_SKEWED

/* What the pairs leave out. */
static const adamoe_case single_cases[] = {
    /* longer sums, which kernels split: with few tokens, so that the reference is quick */
    {LONG, .weights = ADAMOE_F32, .tokens = 5, .hidden_size = 1031, .intermediate_size = 257},
    {LONG, .weights = ADAMOE_BF16, .tokens = 5, .hidden_size = 256, .intermediate_size = 1024},
    /* both sizes large, and multiples of many blocks */
    {.weights = ADAMOE_F32,
     .tokens = 3,
     .hidden_size = 768,
     .intermediate_size = 1536,
     .mixture = {2, 1, 2},
     .pattern = ADAMOE_PATTERN_RANDOM},
    /* more rows than 16 bits count */
    {.weights = ADAMOE_F32,
     .tokens = 65600,
     .hidden_size = 1,
     .intermediate_size = 1,
     .mixture = {3, 0, 1},
     .pattern = ADAMOE_PATTERN_RANDOM},
    /* sums of int8 that are as large as so many terms can make them */
    {.weights = ADAMOE_F32,
     .tokens = 3,
     .hidden_size = 8191,
     .intermediate_size = 2,
     .mixture = {2, 0, 1},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .magnitude = ADAMOE_MAGNITUDE_FULL},
    {.weights = ADAMOE_BF16,
     .tokens = 3,
     .hidden_size = 2,
     .intermediate_size = 8191,
     .mixture = {2, 0, 1},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .magnitude = ADAMOE_MAGNITUDE_FULL},
    /* no token */
    {LONG, .weights = ADAMOE_F32, .tokens = 0, .hidden_size = 17, .intermediate_size = 33},
    {LONG, .weights = ADAMOE_BF16, .tokens = 0, .hidden_size = 64, .intermediate_size = 64},
};

static adamoe_case pair(const adamoe_grid_sizes *g, const size_t *row)
{
    const adamoe_routing_kind *kind = &adamoe_routing_kinds[row[3]];
    return (adamoe_case){.hidden_size = g->both.value[row[0]],
                         .intermediate_size = g->both.value[row[1]],
                         .tokens = g->tokens.value[row[2]],
                         .mixture = kind->mixture,
                         .pattern = kind->pattern,
                         .null_kind = kind->null_kind,
                         .dispatch = kind->dispatch,
                         .weights = adamoe_case_dtypes[row[4]]};
}

static adamoe_status list_pairs(adamoe_case_list *list, const adamoe_grid_sizes *g)
{
    const size_t values[] = {g->both.count, g->both.count, g->tokens.count, ADAMOE_ROUTING_KINDS,
                             ADAMOE_CASE_DTYPES};
    size_t *rows = NULL, count = 0;
    ADAMOE_TRY(adamoe_pairwise(values, 5, &rows, &count));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        status = adamoe_case_list_add(list, pair(g, rows + 5 * i));
    }
    free(rows);
    return status;
}

/* Identity experts take the input as it is, true ones scaled: what no router here asks for at once, and the contract
 * does. */
static adamoe_status list_both_scales(adamoe_case_list *list)
{
    for (size_t i = 0; i < ADAMOE_CASE_DTYPES; ++i) {
        const adamoe_case c = {.hidden_size = 9 + 8 * i,
                               .intermediate_size = 5 + 6 * i,
                               .tokens = 6 + i,
                               .mixture = {3, 2, 3},
                               .pattern = ADAMOE_PATTERN_RANDOM,
                               .null_kind = ADAMOE_NULL_IDENTITY,
                               .dispatch = true,
                               .weights = adamoe_case_dtypes[i]};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

/* What Soft MoE asks of a kernel: as many inputs as rows, and rows in the sums of many tokens. */
static adamoe_status list_slots(adamoe_case_list *list)
{
    for (size_t i = 0; i < ADAMOE_SMALL_LAYERS; ++i) {
        adamoe_case c = adamoe_small_layers[i];
        c.slots = true;
        if (c.null_kind == ADAMOE_NULL_ZERO && c.tokens < 40) {
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

static adamoe_status list_exact(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    const adamoe_grid_sizes g = adamoe_choose_sizes(tiles, exhaustive ? 300 : 150);
    ADAMOE_TRY(list_pairs(list, &g));
    ADAMOE_TRY(list_slots(list));
    ADAMOE_TRY(list_both_scales(list));
    return adamoe_list_thin_layers(list, tiles, exhaustive);
}

/* Every hidden size with tokens that select null experts alone. */
static adamoe_status list_null_tokens(adamoe_case_list *list, const adamoe_grid_sizes *g)
{
    for (size_t i = 0; i < 2 * g->both.count; ++i) {
        const adamoe_case c = {.hidden_size = g->both.value[i / 2],
                               .intermediate_size = 16,
                               .tokens = g->tokens.value[i / 2 % g->tokens.count],
                               .mixture = {4, 4, 3},
                               .pattern = ADAMOE_PATTERN_NULL,
                               .null_kind = i % 2 == 0 ? ADAMOE_NULL_ZERO : ADAMOE_NULL_IDENTITY,
                               .weights = adamoe_case_dtypes[i / 2 % ADAMOE_CASE_DTYPES]};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

/* Values at the ends of what float32 holds, in the first of the small layers. */
static adamoe_status list_magnitudes(adamoe_case_list *list)
{
    enum { LAYERS = 6 };
    for (size_t i = 0; i < LAYERS; ++i) {
        for (size_t m = ADAMOE_MAGNITUDE_DENORMAL; m <= ADAMOE_MAGNITUDE_HUGE; ++m) {
            adamoe_case c = adamoe_small_layers[i];
            c.magnitude = (adamoe_magnitude)m;
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

static adamoe_status list_bound(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    const adamoe_grid_sizes g = adamoe_choose_sizes(tiles, exhaustive ? 600 : 300);
    ADAMOE_TRY(list_pairs(list, &g));
    ADAMOE_TRY(list_null_tokens(list, &g));
    for (size_t i = 0; i < COUNT_OF(single_cases); ++i) {
        ADAMOE_TRY(adamoe_case_list_add(list, single_cases[i]));
    }
    ADAMOE_TRY(list_both_scales(list));
    ADAMOE_TRY(list_magnitudes(list));
    ADAMOE_TRY(adamoe_list_sweeps(list));
    return adamoe_list_thin_layers(list, tiles, exhaustive);
}

/* With fewer tokens, some five hundred calls take no time, not even those of the reference. */
static bool bears_many_calls(adamoe_case *c)
{
    enum { MOST_TOKENS = 24, MOST_PRODUCTS = 150000 };
    c->tokens = c->tokens < MOST_TOKENS ? c->tokens : MOST_TOKENS;
    return c->hidden_size * c->intermediate_size * c->tokens * c->mixture.top_k < MOST_PRODUCTS;
}

/* Every small layer for each guarantee or property. */
static adamoe_status list_small(adamoe_case_list *list)
{
    const bool bitwise = list->tier == ADAMOE_TIER_BITWISE;
    const size_t variants = bitwise ? (size_t)ADAMOE_GUARANTEES : ADAMOE_PROPERTIES;
    for (size_t i = 0; i < variants * ADAMOE_SMALL_LAYERS; ++i) {
        adamoe_case c = adamoe_small_layers[i % ADAMOE_SMALL_LAYERS];
        if (bitwise) {
            c.guarantee = (adamoe_guarantee)(i / ADAMOE_SMALL_LAYERS);
        } else {
            c.property = (adamoe_property)(i / ADAMOE_SMALL_LAYERS);
        }
        if (bitwise || c.property < ADAMOE_PROPERTY_REPEATED_CALLS || bears_many_calls(&c)) {
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return bitwise ? adamoe_ok() : adamoe_list_poisoned(list);
}

static adamoe_status list_all(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    return list->tier == ADAMOE_TIER_EXACT   ? list_exact(list, tiles, exhaustive)
           : list->tier == ADAMOE_TIER_BOUND ? list_bound(list, tiles, exhaustive)
                                             : list_small(list);
}

const adamoe_case_kind adamoe_kind_experts = {
    .name = "experts",
    .print = adamoe_layer_case_print,
    .parse = adamoe_layer_case_parse,
    .fits = fits,
    .list = list_all,
    .run = {[ADAMOE_TIER_EXACT] = adamoe_check_experts_exact,
            [ADAMOE_TIER_BOUND] = adamoe_check_experts_bound,
            [ADAMOE_TIER_BITWISE] = adamoe_check_experts_bitwise,
            [ADAMOE_TIER_PROPERTY] = adamoe_check_experts_property},
};

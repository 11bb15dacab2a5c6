/*
 * What the kinds that compute the experts of a layer have in common.
 */
#include "check/kinds/layer_cases.h"
#include "check/cases/thin.h"
#include "check/cases/words.h"

const adamoe_dtype adamoe_case_dtypes[ADAMOE_CASE_DTYPES] = {ADAMOE_F32, ADAMOE_BF16, ADAMOE_F16};

#define ZERO     ADAMOE_NULL_ZERO
#define IDENTITY ADAMOE_NULL_IDENTITY

const adamoe_routing_kind adamoe_routing_kinds[ADAMOE_ROUTING_KINDS] = {
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

const adamoe_case adamoe_small_layers[ADAMOE_SMALL_LAYERS] = {
    {.hidden_size = 33,
     .intermediate_size = 17,
     .tokens = 19,
     .mixture = {8, 8, 3},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .weights = ADAMOE_F32},
    {.hidden_size = 64,
     .intermediate_size = 96,
     .tokens = 40,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_SKEWED,
     .weights = ADAMOE_BF16},
    {.hidden_size = 129,
     .intermediate_size = 65,
     .tokens = 7,
     .mixture = {8, 0, 2},
     .pattern = ADAMOE_PATTERN_BALANCED,
     .weights = ADAMOE_F32},
    {.hidden_size = 17,
     .intermediate_size = 130,
     .tokens = 33,
     .mixture = {3, 5, 8},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .weights = ADAMOE_F16},
    {.hidden_size = 48,
     .intermediate_size = 31,
     .tokens = 65,
     .mixture = {8, 8, 3},
     .pattern = ADAMOE_PATTERN_ONE,
     .null_kind = IDENTITY,
     .weights = ADAMOE_F32},
    {.hidden_size = 40,
     .intermediate_size = 24,
     .tokens = 5,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .dispatch = true,
     .weights = ADAMOE_F32},
    {.hidden_size = 300,
     .intermediate_size = 520,
     .tokens = 9,
     .mixture = {2, 2, 2},
     .pattern = ADAMOE_PATTERN_RANDOM,
     .weights = ADAMOE_F32},
    /* an expert with more rows than most blocks have */
    {.hidden_size = 9,
     .intermediate_size = 8,
     .tokens = 300,
     .mixture = {4, 4, 3},
     .pattern = ADAMOE_PATTERN_ONE,
     .weights = ADAMOE_F32},
};

/* -------------------------------------------------------------------------------------------------- names */

void adamoe_layer_case_print(const adamoe_case *c, adamoe_case_name *name)
{
    adamoe_name_append(name, "/d:%zu/ff:%zu", c->hidden_size, c->intermediate_size);
    adamoe_name_append_mixture(name, c);
    adamoe_name_append(name, "/routing:%s%s%s%s", adamoe_pattern_names[c->pattern],
                       c->null_kind == ADAMOE_NULL_IDENTITY ? "/null:identity" : "",
                       c->dispatch ? "/dispatch" : "", c->slots ? "/slots" : "");
    adamoe_name_append_magnitude(name, c);
    adamoe_name_append_weights(name, c);
}

bool adamoe_layer_case_parse(const char *text, adamoe_case *c)
{
    size_t pattern = 0;
    if (!adamoe_name_take_size(&text, "/d:", &c->hidden_size) ||
        !adamoe_name_take_size(&text, "/ff:", &c->intermediate_size) || !adamoe_name_take_mixture(&text, c) ||
        !adamoe_name_take_word(&text, "/routing:", adamoe_pattern_names, ADAMOE_PATTERNS, &pattern)) {
        return false;
    }
    c->null_kind = adamoe_name_take(&text, "/null:identity") ? ADAMOE_NULL_IDENTITY : ADAMOE_NULL_ZERO;
    c->dispatch = adamoe_name_take(&text, "/dispatch");
    c->pattern = (adamoe_pattern)pattern;
    c->slots = adamoe_name_take(&text, "/slots");
    adamoe_name_take_magnitude(&text, c);
    return adamoe_name_take_weights(&text, c);
}

/* What fills weights too is made for random values alone. */
static bool magnitude_fits(const adamoe_case *c)
{
    return c->magnitude <= ADAMOE_MAGNITUDE_HUGE ||
           (c->tier == ADAMOE_TIER_BOUND && (c->magnitude == ADAMOE_MAGNITUDE_FULL || c->hidden_size == 1));
}

bool adamoe_layer_case_fits(const adamoe_case *c)
{
    return magnitude_fits(c) && adamoe_mixture_fits(c) && c->hidden_size > 0 && c->intermediate_size > 0 &&
           adamoe_pattern_fits(c->pattern, c->mixture) &&
           adamoe_is_bearable(3 * c->mixture.experts, c->hidden_size, c->intermediate_size) &&
           adamoe_is_bearable(c->tokens, c->hidden_size, 1);
}

/* ------------------------------------------------------------------------------------------------- sweeps */

adamoe_status adamoe_list_sweeps(adamoe_case_list *list)
{
    static const size_t intermediate_sizes[] = {1, 40};
    for (size_t i = 0; i < 2; ++i) {
        ADAMOE_TRY(adamoe_case_list_add(list, (adamoe_case){.hidden_size = 1,
                                                            .intermediate_size = intermediate_sizes[i],
                                                            .mixture = {1, 0, 1},
                                                            .tokens = 8000,
                                                            .pattern = ADAMOE_PATTERN_RANDOM,
                                                            .magnitude = ADAMOE_MAGNITUDE_SWEEP,
                                                            .weights = ADAMOE_F32}));
    }
    return adamoe_ok();
}

adamoe_status adamoe_list_poisoned(adamoe_case_list *list)
{
    static const adamoe_case layers[] = {
        /* one channel of h, whose gate is negative for infinity or for -infinity: what takes a large number for either
         * gets 0 from silu, where a sum of several channels would be infinite all the same */
        {.hidden_size = 5,
         .intermediate_size = 1,
         .mixture = {1, 1, 1},
         .tokens = 4,
         .pattern = ADAMOE_PATTERN_BALANCED},
        /* half of the tokens select null experts alone */
        {.hidden_size = 24,
         .intermediate_size = 10,
         .mixture = {2, 6, 2},
         .tokens = 30,
         .pattern = ADAMOE_PATTERN_RANDOM},
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; ++i) {
        adamoe_case c = layers[i];
        c.weights = ADAMOE_F32;
        c.property = ADAMOE_PROPERTY_POISONED_TOKEN;
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------- thin cases */

/* Few tokens, each with a true expert: two of three are true. */
static adamoe_case thin_layer(size_t hidden_size, size_t intermediate_size, size_t turn)
{
    return (adamoe_case){.hidden_size = hidden_size,
                         .intermediate_size = intermediate_size,
                         .tokens = 1 + turn % 4,
                         .mixture = {2, 1, 2},
                         .pattern = ADAMOE_PATTERN_RANDOM,
                         .weights = adamoe_case_dtypes[turn % ADAMOE_CASE_DTYPES]};
}

/* Both sizes of an expert are columns of one of its matrices and rows of another. */
static adamoe_status add_vectors(adamoe_case_list *list, size_t size, size_t turn)
{
    const size_t small = adamoe_thin_small(list->tier, turn), other = adamoe_thin_small(list->tier, turn + 2);
    ADAMOE_TRY(adamoe_case_list_add_new(list, thin_layer(size, small, turn)));
    return adamoe_case_list_add_new(list, thin_layer(other, size, turn + 1));
}

/* All inputs go to one of two experts, and to the other one or none. */
static adamoe_status add_inputs(adamoe_case_list *list, size_t size, size_t turn)
{
    adamoe_case c = thin_layer(4, 3, turn);
    c.tokens = size;
    c.pattern = ADAMOE_PATTERN_ONE;
    return adamoe_case_list_add_new(list, c);
}

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

static adamoe_status add_many_experts(adamoe_case_list *list)
{
    for (size_t i = 0; i < sizeof many_experts / sizeof *many_experts; ++i) {
        adamoe_case c = many_experts[i];
        c.hidden_size = 4;
        c.intermediate_size = 3;
        c.weights = adamoe_case_dtypes[i % ADAMOE_CASE_DTYPES];
        ADAMOE_TRY(adamoe_case_list_add_new(list, c));
    }
    return adamoe_ok();
}

adamoe_status adamoe_list_thin_layers(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    const adamoe_thin_sizes sizes = adamoe_choose_thin_sizes(tiles, exhaustive);
    for (size_t i = 0; i < sizes.count; ++i) {
        const adamoe_thin_size *at = &sizes.at[i];
        ADAMOE_TRY(at->axis == ADAMOE_AXIS_ROWS ? add_inputs(list, at->size, at->turn)
                                                : add_vectors(list, at->size, at->turn));
    }
    ADAMOE_TRY(add_many_experts(list));
    for (size_t count = 1; count <= ADAMOE_EVERY_COUNT; ++count) {
        ADAMOE_TRY(add_inputs(list, count, count));
    }
    return adamoe_ok();
}

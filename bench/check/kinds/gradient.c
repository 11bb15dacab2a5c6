/*
 * The kind `gradient`: adamoe_kernel.backward, which takes float32 and plans of a routing.
 */
#include "check/cases/pairwise.h"
#include "check/cases/sizes.h"
#include "check/kinds/kinds.h"
#include "check/kinds/layer_cases.h"
#include "check/tiers/gradient/tiers.h"

#include <stdlib.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const char *missing(const adamoe_kernel *kernel)
{
    return kernel->backward == NULL ? "the kernel has no backward pass" : NULL;
}

static bool fits(const adamoe_case *c)
{
    return adamoe_layer_case_fits(c) && c->weights == ADAMOE_F32 && !c->dispatch && !c->slots &&
           c->mixture.experts <= ADAMOE_MOST_GRADIENT_EXPERTS &&
           !(c->tier == ADAMOE_TIER_PROPERTY && c->property != ADAMOE_PROPERTY_POISONED_TOKEN &&
             c->property != ADAMOE_PROPERTY_REPEATED_CALLS) &&
           !(c->tier == ADAMOE_TIER_BITWISE && c->guarantee == ADAMOE_GUARANTEE_PLACEMENT);
}

/* -------------------------------------------------------------------------------------------------- cases */

/* What the pairs leave out: no work for the experts, more rows or longer sums than a block has. */
static const adamoe_case single_cases[] = {
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
     .null_kind = ADAMOE_NULL_IDENTITY},
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

/* The thin cases of the experts that a backward pass has, in float32. */
static adamoe_status list_thin(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    adamoe_case_list forward = {.kind = list->kind, .tier = list->tier};
    adamoe_status status = adamoe_list_thin_layers(&forward, tiles, exhaustive);
    for (size_t i = 0; i < forward.count && status.code == ADAMOE_OK; ++i) {
        adamoe_case c = forward.cases[i];
        c.weights = ADAMOE_F32;
        if (c.mixture.experts <= ADAMOE_MOST_GRADIENT_EXPERTS) {
            status = adamoe_case_list_add_new(list, c);
        }
    }
    free(forward.cases);
    return status;
}

/* Every kind of routing but the last one, which scales its inputs. */
static adamoe_status list_pairs(adamoe_case_list *list, const adamoe_grid_sizes *g)
{
    const size_t values[] = {g->both.count, g->both.count, g->tokens.count, ADAMOE_ROUTING_KINDS - 1};
    size_t *rows = NULL, count = 0;
    ADAMOE_TRY(adamoe_pairwise(values, 4, &rows, &count));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        const size_t *row = rows + 4 * i;
        const adamoe_routing_kind *kind = &adamoe_routing_kinds[row[3]];
        status = adamoe_case_list_add(list, (adamoe_case){.hidden_size = g->both.value[row[0]],
                                                          .intermediate_size = g->both.value[row[1]],
                                                          .tokens = g->tokens.value[row[2]],
                                                          .mixture = kind->mixture,
                                                          .pattern = kind->pattern,
                                                          .null_kind = kind->null_kind,
                                                          .weights = ADAMOE_F32});
    }
    free(rows);
    return status;
}

/* The small layers that a gradient takes, with the magnitude, the guarantee and the property of `like`. */
static adamoe_status list_small(adamoe_case_list *list, adamoe_case like)
{
    for (size_t i = 0; i < ADAMOE_SMALL_LAYERS; ++i) {
        adamoe_case c = adamoe_small_layers[i];
        c.weights = ADAMOE_F32;
        c.guarantee = like.guarantee;
        c.magnitude = like.magnitude;
        c.property = like.property;
        if (!c.dispatch && c.hidden_size <= 129) {
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

static adamoe_status list_bitwise(adamoe_case_list *list)
{
    for (size_t g = 0; g < ADAMOE_GUARANTEE_PLACEMENT; ++g) {
        ADAMOE_TRY(list_small(list, (adamoe_case){.guarantee = (adamoe_guarantee)g}));
    }
    return adamoe_ok();
}

/* Three hundred calls each. */
static adamoe_status list_repeated(adamoe_case_list *list)
{
    static const adamoe_case repeated[] = {
        {.hidden_size = 9,
         .intermediate_size = 13,
         .mixture = {4, 4, 3},
         .pattern = ADAMOE_PATTERN_RANDOM,
         .tokens = 7},
        {.hidden_size = 16,
         .intermediate_size = 8,
         .mixture = {3, 5, 4},
         .pattern = ADAMOE_PATTERN_SKEWED,
         .null_kind = ADAMOE_NULL_IDENTITY,
         .tokens = 12},
    };
    for (size_t i = 0; i < COUNT_OF(repeated); ++i) {
        adamoe_case c = repeated[i];
        c.property = ADAMOE_PROPERTY_REPEATED_CALLS;
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

/* Values at the ends of what float32 holds. */
static adamoe_status list_magnitudes(adamoe_case_list *list)
{
    for (size_t m = ADAMOE_MAGNITUDE_DENORMAL; m <= ADAMOE_MAGNITUDE_HUGE; ++m) {
        ADAMOE_TRY(list_small(list, (adamoe_case){.magnitude = (adamoe_magnitude)m}));
    }
    return adamoe_ok();
}

static adamoe_status list_all(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    if (list->tier == ADAMOE_TIER_BITWISE) {
        return list_bitwise(list);
    }
    if (list->tier == ADAMOE_TIER_PROPERTY) {
        ADAMOE_TRY(list_small(list, (adamoe_case){.property = ADAMOE_PROPERTY_POISONED_TOKEN}));
        ADAMOE_TRY(adamoe_list_poisoned(list));
        return list_repeated(list);
    }
    const adamoe_grid_sizes g = adamoe_choose_sizes(tiles, exhaustive ? 150 : 70);
    ADAMOE_TRY(list_pairs(list, &g));
    for (size_t i = 0; i < COUNT_OF(single_cases); ++i) {
        ADAMOE_TRY(adamoe_case_list_add(list, single_cases[i]));
    }
    if (list->tier == ADAMOE_TIER_EXACT) {
        return adamoe_ok();
    }
    ADAMOE_TRY(list_magnitudes(list));
    ADAMOE_TRY(adamoe_list_sweeps(list));
    return list_thin(list, tiles, exhaustive);
}

const adamoe_case_kind adamoe_kind_gradient = {
    .name = "gradient",
    .print = adamoe_layer_case_print,
    .parse = adamoe_layer_case_parse,
    .fits = fits,
    .list = list_all,
    .missing = missing,
    .run = {[ADAMOE_TIER_EXACT] = adamoe_check_gradient_exact,
            [ADAMOE_TIER_BOUND] = adamoe_check_gradient_bound,
            [ADAMOE_TIER_BITWISE] = adamoe_check_gradient_bitwise,
            [ADAMOE_TIER_PROPERTY] = adamoe_check_gradient_property},
};

/*
 * The kind `routed`: adamoe_kernel.experts on the plans of every router of the table (reference/routers/routers.h),
 * whose rows are not those of AdaMoE: in the order of ranks, with refused tokens, with experts that are full or
 * idle, as slots that every token sums, with weights that do not add up to 1, with identity weights.
 *
 * What a router adds behind the kernel is no part of a plan, and left out.
 */
#include "check/cases/words.h"
#include "check/kinds/kinds.h"
#include "check/kinds/layer_cases.h"
#include "check/tiers/tiers.h"
#include "layers/random_layer.h"
#include "layers/router_setup.h"

#include <stdlib.h>

static void print(const adamoe_case *c, adamoe_case_name *name)
{
    adamoe_name_append(name, "/d:%zu/ff:%zu/n:%zu/k:%zu/tokens:%zu/router:%s", c->hidden_size,
                       c->intermediate_size, c->mixture.experts, c->mixture.top_k, c->tokens,
                       adamoe_router_at(c->router)->name);
    adamoe_name_append_weights(name, c);
}

/* The router whose name stands there up to the next `/`. */
static bool take_router(const char **cursor, size_t *router)
{
    for (*router = 0; adamoe_router_at(*router) != NULL; ++*router) {
        const char *behind = *cursor;
        if (adamoe_name_take(&behind, adamoe_router_at(*router)->name) && *behind == '/') {
            *cursor = behind;
            return true;
        }
    }
    return false;
}

static bool parse(const char *text, adamoe_case *c)
{
    return adamoe_name_take_size(&text, "/d:", &c->hidden_size) &&
           adamoe_name_take_size(&text, "/ff:", &c->intermediate_size) &&
           adamoe_name_take_size(&text, "/n:", &c->mixture.experts) &&
           adamoe_name_take_size(&text, "/k:", &c->mixture.top_k) &&
           adamoe_name_take_size(&text, "/tokens:", &c->tokens) && adamoe_name_take(&text, "/router:") &&
           take_router(&text, &c->router) && adamoe_name_take_weights(&text, c);
}

/* Routers over groups of channels want a hidden size that n divides; so all get one. */
static bool fits(const adamoe_case *c)
{
    const size_t n = c->mixture.experts;
    return n > 0 && c->mixture.top_k > 0 && c->mixture.top_k <= n && c->tokens > 0 && c->hidden_size > 0 &&
           c->intermediate_size > 0 && c->hidden_size % n == 0 &&
           adamoe_is_bearable(3 * n, c->hidden_size, c->intermediate_size) &&
           adamoe_is_bearable(c->tokens, c->hidden_size, 1) && adamoe_is_bearable(c->tokens, n, c->tokens);
}

/* Two tokens; a few; more than most blocks have of each expert; many experts of which several are idle. */
static const adamoe_case shapes[] = {
    {.hidden_size = 36, .intermediate_size = 17, .mixture = {4, 0, 2}, .tokens = 2},
    {.hidden_size = 66, .intermediate_size = 33, .mixture = {6, 0, 2}, .tokens = 13},
    {.hidden_size = 20, .intermediate_size = 9, .mixture = {4, 0, 2}, .tokens = 150},
    {.hidden_size = 64, .intermediate_size = 40, .mixture = {16, 0, 3}, .tokens = 9},
};

#define SHAPES (sizeof shapes / sizeof *shapes)

static adamoe_status list_all(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    (void)tiles;
    (void)exhaustive;
    for (size_t router = 0; adamoe_router_at(router) != NULL; ++router) {
        for (size_t i = 0; i < SHAPES; ++i) {
            adamoe_case c = shapes[i];
            c.router = router;
            c.weights = adamoe_case_dtypes[(router + i) % ADAMOE_CASE_DTYPES];
            ADAMOE_TRY(adamoe_case_list_add(list, c));
        }
    }
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------------- rule */

/* The router's tensors are drawn by the same seed as the layer. */
static adamoe_status judge_router(const adamoe_checking *k, const adamoe_layer *layer, const float *x)
{
    const adamoe_router_subject subject = {
        .tokens = k->c->tokens, .top_k = k->c->mixture.top_k, .x = x, .layer = layer, .seed = k->seed};
    adamoe_router_setup setup;
    adamoe_routed routed;
    ADAMOE_TRY(adamoe_router_setup_create(adamoe_router_at(k->c->router), &subject, &setup));
    adamoe_status status = adamoe_router_run(setup.router, &setup.call, &routed);
    if (status.code == ADAMOE_OK) {
        const adamoe_experts_call call = {
            .layer = layer, .plan = routed.plan, .x = routed.inputs != NULL ? routed.inputs : x};
        status = adamoe_check_call_bound(k, &call);
        adamoe_routed_free(&routed);
    }
    adamoe_router_setup_free(&setup);
    return status;
}

static adamoe_status check_bound(const adamoe_checking *k)
{
    enum { ODD_OFFSET = 1 };
    const adamoe_case *c = k->c;
    const adamoe_layer_sizes sizes = {.hidden_size = c->hidden_size,
                                      .intermediate_size = c->intermediate_size,
                                      .experts = c->mixture.experts};
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(c).text, k->seed);
    adamoe_random_layer layer;
    float *x = NULL;
    ADAMOE_TRY(adamoe_check_floats(c->tokens * c->hidden_size, &x));
    adamoe_random_states(&random, c->tokens * c->hidden_size, x);
    adamoe_status status = adamoe_random_layer_create(sizes, c->weights, ODD_OFFSET, &random, &layer);
    if (status.code == ADAMOE_OK) {
        status = judge_router(k, &layer.layer, x);
        adamoe_random_layer_free(&layer);
    }
    free(x);
    return status;
}

const adamoe_case_kind adamoe_kind_routed = {
    .name = "routed",
    .print = print,
    .parse = parse,
    .fits = fits,
    .list = list_all,
    .run = {[ADAMOE_TIER_BOUND] = check_bound},
};

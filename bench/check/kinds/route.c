/*
 * The kinds `route`, adamoe_kernel.route or the program's own router on given logits; and `logits`, those of a
 * router by adamoe_kernel.multiply, and what is selected from them.
 */
#include "check/cases/words.h"
#include "check/kinds/kinds.h"
#include "check/kinds/layer_cases.h"
#include "check/kinds/needs.h"
#include "check/tiers/route/tiers.h"
#include "router.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const char *const logits_names[ADAMOE_LOGITS_KINDS] = {
    "random",   "ties",       "copies",   "near-ties", "all-equal", "signed-zeros",
    "all-null", "one-expert", "denormal", "huge",      "nan",       "infinite"};

static const adamoe_mixture mixtures[] = {{8, 8, 3}, {4, 4, 8},    {1, 0, 1}, {1, 7, 2},    {5, 0, 5},
                                          {3, 6, 4}, {64, 32, 12}, {2, 2, 1}, {300, 20, 40}};

/* The last one, with more tokens, experts and places than tables have. */
enum { LARGE = COUNT_OF(mixtures) - 1, MANY_TOKENS = 200 };

/* ----------------------------------------------------------------------------------------------- `route` */

static void print_route(const adamoe_case *c, adamoe_case_name *name)
{
    adamoe_name_append_mixture(name, c);
    adamoe_name_append(name, "/logits:%s/norm:%s", logits_names[c->logits], adamoe_norm_names[c->norm]);
}

static bool parse_route(const char *text, adamoe_case *c)
{
    size_t logits = 0, norm = 0;
    const bool read = adamoe_name_take_mixture(&text, c) &&
                      adamoe_name_take_word(&text, "/logits:", logits_names, ADAMOE_LOGITS_KINDS, &logits) &&
                      adamoe_name_take_word(&text, "/norm:", adamoe_norm_names, ADAMOE_NORMS, &norm);
    c->logits = (adamoe_logits_kind)logits;
    c->norm = (adamoe_norm)norm;
    return read;
}

/* What must be refused, which the caller does, is of tier routing alone. */
static bool route_fits(const adamoe_case *c)
{
    return !(c->tier == ADAMOE_TIER_BITWISE && c->guarantee == ADAMOE_GUARANTEE_PLACEMENT) &&
           !(c->tier == ADAMOE_TIER_PROPERTY && c->property != ADAMOE_PROPERTY_REPEATED_CALLS) &&
           (c->tier == ADAMOE_TIER_ROUTING || c->logits < ADAMOE_LOGITS_NAN) && adamoe_mixture_fits(c);
}

/* For what takes many calls: more tokens than 64 threads, or blocks of 64 for several, and odd numbers of experts. */
static const adamoe_case small_routes[] = {
    {.mixture = {8, 8, 3}, .tokens = 77, .norm = ADAMOE_NORM_TRUE},
    {.mixture = {5, 4, 4}, .tokens = 600, .logits = ADAMOE_LOGITS_TIES, .norm = ADAMOE_NORM_ALL},
    {.mixture = {131, 20, 18}, .tokens = 66, .norm = ADAMOE_NORM_NONE},
};

static adamoe_status list_bitwise(adamoe_case_list *list)
{
    for (size_t i = 0; i < ADAMOE_GUARANTEE_PLACEMENT * COUNT_OF(small_routes); ++i) {
        adamoe_case c = small_routes[i % COUNT_OF(small_routes)];
        c.guarantee = (adamoe_guarantee)(i / COUNT_OF(small_routes));
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

/* Three hundred calls each. */
static adamoe_status list_repeated(adamoe_case_list *list)
{
    static const adamoe_case repeated[] = {
        {.mixture = {8, 8, 3}, .tokens = 17, .norm = ADAMOE_NORM_TRUE},
        {.mixture = {5, 4, 4}, .tokens = 40, .logits = ADAMOE_LOGITS_TIES, .norm = ADAMOE_NORM_ALL},
    };
    for (size_t i = 0; i < COUNT_OF(repeated); ++i) {
        adamoe_case c = repeated[i];
        c.property = ADAMOE_PROPERTY_REPEATED_CALLS;
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

static adamoe_status list_routing(adamoe_case_list *list)
{
    static const size_t tokens[] = {0, 1, 7, 33};
    for (size_t at = 0; at < COUNT_OF(mixtures) * ADAMOE_LOGITS_KINDS; ++at) {
        const size_t i = at / ADAMOE_LOGITS_KINDS, kind = at % ADAMOE_LOGITS_KINDS;
        const adamoe_case c = {.mixture = mixtures[i],
                               .tokens = i == LARGE                  ? MANY_TOKENS
                                         : kind >= ADAMOE_LOGITS_NAN ? tokens[1 + (i + kind) % 3]
                                                                     : tokens[(i + kind) % 4],
                               .logits = (adamoe_logits_kind)kind,
                               .norm = (adamoe_norm)((i + kind) % ADAMOE_NORM_EVERY)};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    /* The norms behind the first three, which go round beside four numbers of tokens: one more would stand with one of
     * them alone. */
    for (size_t at = 0; at < COUNT_OF(mixtures) * (ADAMOE_NORMS - ADAMOE_NORM_EVERY); ++at) {
        const size_t i = at % COUNT_OF(mixtures);
        const adamoe_case c = {.mixture = mixtures[i],
                               .tokens = tokens[1 + i % 3],
                               .logits = i % 2 == 0 ? ADAMOE_LOGITS_RANDOM : ADAMOE_LOGITS_HUGE,
                               .norm = (adamoe_norm)(ADAMOE_NORM_EVERY + at / COUNT_OF(mixtures))};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

static adamoe_status list_routes(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    (void)tiles, (void)exhaustive;
    return list->tier == ADAMOE_TIER_BITWISE    ? list_bitwise(list)
           : list->tier == ADAMOE_TIER_PROPERTY ? list_repeated(list)
                                                : list_routing(list);
}

const adamoe_case_kind adamoe_kind_route = {
    .name = "route",
    .print = print_route,
    .parse = parse_route,
    .fits = route_fits,
    .list = list_routes,
    .run = {[ADAMOE_TIER_BITWISE] = adamoe_check_route_bitwise,
            [ADAMOE_TIER_PROPERTY] = adamoe_check_route_repeated,
            [ADAMOE_TIER_ROUTING] = adamoe_check_route_routing},
};

/* ---------------------------------------------------------------------------------------------- `logits` */

static void print_logits(const adamoe_case *c, adamoe_case_name *name)
{
    adamoe_name_append(name, "/d:%zu", c->hidden_size);
    adamoe_name_append_mixture(name, c);
    adamoe_name_append_weights(name, c);
}

static bool parse_logits(const char *text, adamoe_case *c)
{
    return adamoe_name_take_size(&text, "/d:", &c->hidden_size) && adamoe_name_take_mixture(&text, c) &&
           adamoe_name_take_weights(&text, c);
}

static bool logits_fit(const adamoe_case *c)
{
    return adamoe_mixture_fits(c) && c->hidden_size > 0 && adamoe_is_bearable(c->tokens, c->hidden_size, 1);
}

static adamoe_status list_logits(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    (void)tiles, (void)exhaustive;
    for (size_t i = 0; i < COUNT_OF(mixtures); ++i) {
        const adamoe_case c = {.hidden_size = 33 * i + 31,
                               .mixture = mixtures[i],
                               .tokens = i == LARGE ? MANY_TOKENS : 65,
                               .weights = adamoe_case_dtypes[i % ADAMOE_CASE_DTYPES]};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

const adamoe_case_kind adamoe_kind_logits = {
    .name = "logits",
    .print = print_logits,
    .parse = parse_logits,
    .fits = logits_fit,
    .list = list_logits,
    .missing = adamoe_missing_product,
    .run = {[ADAMOE_TIER_ROUTING] = adamoe_check_logits_routing},
};

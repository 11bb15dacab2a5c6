/*
 * The table of routers, and their parameters.
 */
#include "routers/routers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Each row stands for adamoe_router_NAME, which the file NAME.c defines. */
#define ROUTERS(ROW)                                                                                         \
    ROW(adamoe)                                                                                              \
    ROW(top_k)                                                                                               \
    ROW(softmax_token_choice)                                                                                \
    ROW(sinkhorn_token_choice)                                                                               \
    ROW(softmax_expert_choice)                                                                               \
    ROW(sinkhorn_expert_choice)                                                                              \
    ROW(sparse_expert_choice)                                                                                \
    ROW(soft_moe)                                                                                            \
    ROW(locmoe)                                                                                              \
    ROW(locmoe_plus)                                                                                         \
    ROW(memoe)                                                                                               \
    ROW(top_p)                                                                                               \
    ROW(loss_free)                                                                                           \
    ROW(longcat)                                                                                             \
    ROW(moe_plus_plus)                                                                                       \
    ROW(null_copies)                                                                                         \
    ROW(remoe)

#define DECLARE(NAME) extern const adamoe_router adamoe_router_##NAME;
#define ADDRESS(NAME) &adamoe_router_##NAME,
ROUTERS(DECLARE)
static const adamoe_router *const table[] = {ROUTERS(ADDRESS)};

const adamoe_router *adamoe_router_at(size_t index)
{
    return index < sizeof table / sizeof *table ? table[index] : NULL;
}

const adamoe_router *adamoe_router_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; ++i) {
        if (strcmp(table[i]->name, name) == 0) {
            return table[i];
        }
    }
    return NULL;
}

/* --------------------------------------------------------------------------------------------- parameters */

void adamoe_router_defaults(const adamoe_router *router, double value[ADAMOE_ROUTER_PARAMETERS])
{
    for (size_t i = 0; i < ADAMOE_ROUTER_PARAMETERS; ++i) {
        const bool given = i < router->parameters && router->parameter[i].need == ADAMOE_PARAMETER_DEFAULT;
        value[i] = given ? router->parameter[i].standard : (double)NAN;
    }
}

static bool in_range(const adamoe_router_parameter *p, double value)
{
    const bool above = p->low_open ? value > p->low : value >= p->low;
    const bool below = p->high_open ? value < p->high : value <= p->high;
    return isfinite(value) && above && below && (p->kind == ADAMOE_PARAMETER_NUMBER || value == floor(value));
}

static adamoe_status range_error(const adamoe_router_parameter *p, double value)
{
    const char *kind = p->kind == ADAMOE_PARAMETER_COUNT ? "a whole number" : "a number";
    if (p->high >= 4294967295.0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %.9g is not %s %s %g", p->name, value, kind,
                            p->low_open ? "above" : "of at least", p->low);
    }
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: %.9g is not %s within %s%g, %g%s", p->name, value, kind,
                        p->low_open ? "(" : "[", p->low, p->high, p->high_open ? ")" : "]");
}

static adamoe_status check_value(const adamoe_router_parameter *p, double value)
{
    if (isnan(value) && p->need == ADAMOE_PARAMETER_OPTIONAL) {
        return adamoe_ok();
    }
    if (isnan(value)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: missing, and it has no default", p->name);
    }
    return p->kind == ADAMOE_PARAMETER_CHOICE || in_range(p, value) ? adamoe_ok() : range_error(p, value);
}

/* The place of `text` among "one|two|three", or -1. */
static int find_choice(const char *choices, const char *text)
{
    const size_t length = strlen(text);
    int place = 0;
    for (const char *at = choices;; ++place) {
        const size_t size = strcspn(at, "|");
        if (size == length && memcmp(at, text, size) == 0) {
            return place;
        }
        if (at[size] == '\0') {
            return -1;
        }
        at += size + 1;
    }
}

/* Decimal notation only: strtod alone would take blanks, hexadecimal digits, "nan" and "inf". */
static bool parse_number(const char *text, double *out)
{
    char *end;
    if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0') {
        return false;
    }
    *out = strtod(text, &end);
    return *end == '\0';
}

static adamoe_status parse_value(const adamoe_router_parameter *p, const char *text, double *out)
{
    if (p->kind == ADAMOE_PARAMETER_CHOICE) {
        *out = find_choice(p->choices, text);
        return *out >= 0.0
                   ? adamoe_ok()
                   : adamoe_error(ADAMOE_BAD_INPUT, "%s: \"%.40s\" is none of %s", p->name, text, p->choices);
    }
    if (!parse_number(text, out)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: \"%.40s\" is no number", p->name, text);
    }
    return in_range(p, *out) ? adamoe_ok() : range_error(p, *out);
}

adamoe_status adamoe_router_set(const adamoe_router *router, double value[ADAMOE_ROUTER_PARAMETERS],
                                const char *name, const char *text)
{
    for (size_t i = 0; i < router->parameters; ++i) {
        if (strcmp(router->parameter[i].name, name) == 0) {
            return parse_value(&router->parameter[i], text, &value[i]);
        }
    }
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: router %s has no such parameter", name, router->name);
}

adamoe_router_text adamoe_router_value_text(const adamoe_router_parameter *p, double value)
{
    adamoe_router_text out = {""};
    if (isnan(value)) {
        return out;
    }
    if (p->kind != ADAMOE_PARAMETER_CHOICE) {
        (void)snprintf(out.text, sizeof out.text, "%.9g", value);
        if (strtod(out.text, NULL) != value) {
            (void)snprintf(out.text, sizeof out.text, "%.17g", value);
        }
        return out;
    }
    const char *choice = p->choices;
    for (size_t i = 0; i < (size_t)value; ++i) {
        choice += strcspn(choice, "|") + 1;
    }
    (void)snprintf(out.text, sizeof out.text, "%.*s", (int)strcspn(choice, "|"), choice);
    return out;
}

/* -------------------------------------------------------------------------------------------------- running */

static adamoe_status check_call(const adamoe_router *router, const adamoe_router_call *call)
{
    if (call->tokens == 0 || call->hidden_size == 0 || call->experts == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tokens, hidden_size or experts: 0");
    }
    if (call->tokens >= UINT32_MAX / call->experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tokens: %zu times %zu experts are more than 32 bits count",
                            call->tokens, call->experts);
    }
    for (size_t i = 0; i < router->parameters; ++i) {
        ADAMOE_TRY(check_value(&router->parameter[i], call->value[i]));
    }
    return adamoe_ok();
}

static adamoe_status run(const adamoe_router *router, const adamoe_router_call *call, bool with_after,
                         adamoe_routed *out)
{
    *out = (adamoe_routed){0};
    ADAMOE_TRY(check_call(router, call));
    adamoe_status status = router->route(call, out);
    if (status.code == ADAMOE_OK && with_after && router->after != NULL) {
        status = router->after(call, out);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_routed_free(out);
    }
    return status;
}

adamoe_status adamoe_router_run(const adamoe_router *router, const adamoe_router_call *call,
                                adamoe_routed *out)
{
    return run(router, call, true, out);
}

adamoe_status adamoe_routed_backward(const adamoe_router *router, const adamoe_router_call *call,
                                     adamoe_routed *routed, const adamoe_router_derivative *derivative,
                                     const adamoe_router_gradient *gradient)
{
    return router->backward(call, routed, derivative, gradient);
}

adamoe_status adamoe_router_run_before(const adamoe_router *router, const adamoe_router_call *call,
                                       adamoe_routed *out)
{
    return run(router, call, false, out);
}

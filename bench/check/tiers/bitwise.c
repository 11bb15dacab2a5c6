/*
 * The tier `bitwise`: what a kernel guarantees about the bits of its result. Each case takes one guarantee;
 * where the kernel does not claim it, the case is skipped and says so.
 *
 * Threads are real ones, and threads in name whose tasks run backwards in one: the contract allows any order,
 * and what depends on it shows in every run there, not in one of a thousand. Left out: races that change
 * nothing in either order; ThreadSanitizer finds those.
 */
#include "check/tiers/arrange.h"
#include "check/tiers/again.h"
#include "check/tiers/apart.h"
#include "check/tiers/data.h"
#include "check/tiers/tiers.h"
#include "machine/host.h"
#include "machine/team.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

typedef struct operation operation;

/* A subject: what is computed again and again, rows of `width` from rows of x. */
typedef struct subject {
    const adamoe_checking *k;
    const operation *of;
    const adamoe_case_data *data;
    size_t tokens, width, x_width;
    float *expected, *got; /* [tokens, width] */
} subject;

/* The experts, or a dense product. */
struct operation {
    /* Of all tokens. */
    adamoe_status (*compute)(const subject *s, const adamoe_call_manner *manner, float *y,
                             adamoe_call_outcome *outcome);
    /* Of some tokens, whose rows are x. */
    adamoe_status (*compute_some)(const subject *s, const adamoe_call_manner *manner, adamoe_arrangement some,
                                  const float *x, float *y, adamoe_call_outcome *outcome);
    /* With prepared weights that have computed something else before, or NULL. */
    adamoe_status (*compute_after)(const subject *s, const adamoe_call_manner *manner, float *y,
                                   adamoe_call_outcome *outcome);
};

static adamoe_status compute_tokens(const subject *s, const adamoe_call_manner *manner,
                                    adamoe_arrangement arrangement, float *y, adamoe_call_outcome *outcome)
{
    float *x = NULL;
    ADAMOE_TRY(adamoe_check_floats(arrangement.tokens * s->x_width, &x));
    adamoe_arrange_rows(s->data->x, arrangement, s->x_width, x);
    const adamoe_status status = s->of->compute_some(s, manner, arrangement, x, y, outcome);
    free(x);
    return status;
}

/* Computes in a manner and compares; true in *go_on where it is the same. */
static adamoe_status compare(const void *subject_of, const adamoe_call_manner *manner, const char *what,
                             bool *go_on)
{
    const subject *s = subject_of;
    adamoe_call_outcome outcome;
    ADAMOE_TRY(s->of->compute(s, manner, s->got, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome) &&
             adamoe_check_same_bits(s->k, s->got, s->expected, s->tokens * s->width, s->width, what);
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------- guarantees */

static adamoe_status compute_first(const void *subject_of, const adamoe_call_manner *manner, bool *go_on)
{
    const subject *s = subject_of;
    adamoe_call_outcome outcome;
    ADAMOE_TRY(s->of->compute(s, manner, s->expected, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome);
    return adamoe_ok();
}

/* With prepared weights that have computed something else before; and from the outputs of single rows. */
static adamoe_status check_after(const void *subject_of)
{
    const subject *s = subject_of;
    const adamoe_call_manner manner = adamoe_check_manner(s->k, ADAMOE_GUARD_FRONT);
    adamoe_call_outcome outcome;
    if (s->of->compute_after == NULL || s->tokens < 2) {
        return adamoe_ok();
    }
    ADAMOE_TRY(s->of->compute_after(s, &manner, s->got, &outcome));
    return adamoe_check_called(s->k, &outcome) &&
                   adamoe_check_same_bits(
                       s->k, s->got, s->expected, s->tokens * s->width, s->width,
                       "with weights that computed another batch before, and the first run")
               ? adamoe_check_apart(s->k, s->data, s->expected)
               : adamoe_ok();
}

/* The tokens first, first + step, ... of the batch, up to `most`. */
static adamoe_status compare_some(const subject *s, size_t first, size_t step, size_t most, uint32_t *token,
                                  bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(s->k, ADAMOE_GUARD_BACK);
    adamoe_arrangement some = {.token = token};
    adamoe_call_outcome outcome;
    char what[80];
    for (size_t t = first; t < s->tokens && some.tokens < most; t += step) {
        token[some.tokens++] = (uint32_t)t;
    }
    ADAMOE_TRY(compute_tokens(s, &manner, some, s->got, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome);
    for (size_t i = 0; i < some.tokens && *go_on; ++i) {
        (void)snprintf(what, sizeof what, "token %u among %zu tokens and among %zu", token[i], some.tokens,
                       s->tokens);
        *go_on = adamoe_check_same_bits(s->k, s->got + i * s->width, s->expected + token[i] * s->width,
                                        s->width, s->width, what);
        s->k->out->row = *go_on ? s->k->out->row : token[i];
    }
    return adamoe_ok();
}

static adamoe_status check_batch(const void *subject_of)
{
    const subject *s = subject_of;
    uint32_t *token = calloc(s->tokens + 1, sizeof *token);
    adamoe_status status =
        token == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory") : adamoe_ok();
    bool go_on = true;
    const size_t alone = s->tokens > 6 ? s->tokens / 6 : 1;
    for (size_t t = 0; t < s->tokens && go_on && status.code == ADAMOE_OK; t += alone) {
        status = compare_some(s, t, 1, 1, token, &go_on);
    }
    for (size_t step = 1; step <= 3 && go_on && status.code == ADAMOE_OK && s->tokens > 2; ++step) {
        status = compare_some(s, s->tokens > 3 ? step : 0, step, s->tokens - 1, token, &go_on);
    }
    free(token);
    return status;
}

/* Topologies given by hand; the memory is where it is. */
static adamoe_status check_placement(const void *subject_of)
{
    const subject *s = subject_of;
    static const uint32_t in_turn[] = {0, 1, 0, 1}, halves[] = {0, 0, 1, 1}, four[] = {3, 1, 0, 2},
                          two_of_four[] = {1, 1, 3, 3}, eight[] = {6, 1, 7, 4};
    static const struct {
        uint32_t nodes;
        const uint32_t *thread_node;
        const char *name;
    } topologies[] = {{1, NULL, "one node"},
                      {2, halves, "2 nodes"},
                      {2, in_turn, "2 nodes in turn"},
                      {4, four, "4 nodes"},
                      {4, two_of_four, "4 nodes, two of them without threads"},
                      {8, eight, "8 nodes, four of them without threads"},
                      {2, NULL, "2 nodes, all threads on the first"}};
    const size_t count = sizeof topologies / sizeof *topologies;
    static const char *const policies[] = {"local", "interleave", "experts", "split"};
    const adamoe_call_manner one_node = {.kernel = s->k->kernel, .placement = adamoe_one_node(4)};
    adamoe_call_outcome outcome;
    size_t done = 0;
    ADAMOE_TRY(s->of->compute(s, &one_node, s->expected, &outcome));
    bool go_on = adamoe_check_called(s->k, &outcome);
    for (size_t i = 0; i < count * 4 && go_on; ++i) {
        adamoe_call_manner manner = one_node;
        char what[120];
        manner.placement.policy = (adamoe_numa_policy)(i % 4);
        manner.placement.nodes = topologies[i / 4].nodes;
        manner.placement.thread_node = topologies[i / 4].thread_node;
        ADAMOE_TRY(s->of->compute(s, &manner, s->got, &outcome));
        if (outcome.end != ADAMOE_CALL_NOT_SUPPORTED) {
            (void)snprintf(what, sizeof what, "policy %s on %s, and one node", policies[i % 4],
                           topologies[i / 4].name);
            go_on = adamoe_check_called(s->k, &outcome) &&
                    adamoe_check_same_bits(s->k, s->got, s->expected, s->tokens * s->width, s->width, what);
            ++done;
        }
    }
    if (done == 0 && go_on) {
        adamoe_check_settle(s->k, ADAMOE_CHECK_SKIPPED, "%s", outcome.detail);
    }
    return adamoe_ok();
}

/* Frees the data. */
static adamoe_status check(subject *s, adamoe_case_data *data)
{
    static const adamoe_bitwise of = {compute_first, compare, check_after, check_batch, check_placement};
    adamoe_status status = adamoe_check_floats(s->tokens * s->width, &s->expected);
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_floats(s->tokens * s->width, &s->got);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_promise(s->k, &of, s, s->tokens == 0);
    }
    free(s->expected);
    free(s->got);
    adamoe_case_data_free(data);
    return status;
}

/* ------------------------------------------------------------------------------------------------ experts */

static adamoe_status compute_experts(const subject *s, const adamoe_call_manner *manner, float *y,
                                     adamoe_call_outcome *outcome)
{
    const adamoe_experts_call call = {.layer = &s->data->layer.layer, .plan = s->data->plan, .x = s->data->x};
    return adamoe_call_experts(manner, &call, y, outcome);
}

static adamoe_status compute_some_experts(const subject *s, const adamoe_call_manner *manner,
                                          adamoe_arrangement some, const float *x, float *y,
                                          adamoe_call_outcome *outcome)
{
    adamoe_plan *plan = NULL;
    ADAMOE_TRY(adamoe_arrange_plan(s->data->plan, some, &plan));
    const adamoe_experts_call call = {.layer = &s->data->layer.layer, .plan = plan, .x = x};
    const adamoe_status status = adamoe_call_experts(manner, &call, y, outcome);
    adamoe_plan_free(plan);
    return status;
}

/* After the last token alone. */
static adamoe_status compute_experts_after(const subject *s, const adamoe_call_manner *manner, float *y,
                                           adamoe_call_outcome *outcome)
{
    uint32_t last = (uint32_t)s->tokens - 1;
    adamoe_plan *plan = NULL;
    ADAMOE_TRY(adamoe_arrange_plan(s->data->plan, (adamoe_arrangement){.token = &last, .tokens = 1}, &plan));
    const adamoe_experts_call call = {.layer = &s->data->layer.layer,
                                      .plan = s->data->plan,
                                      .x = s->data->x,
                                      .before = plan,
                                      .before_x = s->data->x};
    const adamoe_status status = adamoe_call_experts(manner, &call, y, outcome);
    adamoe_plan_free(plan);
    return status;
}

adamoe_status adamoe_check_experts_bitwise(const adamoe_checking *k)
{
    static const operation experts = {compute_experts, compute_some_experts, compute_experts_after};
    const adamoe_case *c = k->c;
    adamoe_case_data data;
    if (!adamoe_check_claimed(k)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_experts_data_create(c, k->seed, &data));
    subject s = {.k = k,
                 .of = &experts,
                 .data = &data,
                 .tokens = c->tokens,
                 .width = c->hidden_size,
                 .x_width = c->hidden_size};
    return check(&s, &data);
}

/* --------------------------------------------------------------------------------------- a dense product */

static adamoe_status compute_product(const subject *s, const adamoe_call_manner *manner, float *y,
                                     adamoe_call_outcome *outcome)
{
    return adamoe_call_multiply(manner, &s->data->matrix, s->data->x, s->tokens, y, outcome);
}

static adamoe_status compute_some_products(const subject *s, const adamoe_call_manner *manner,
                                           adamoe_arrangement some, const float *x, float *y,
                                           adamoe_call_outcome *outcome)
{
    return adamoe_call_multiply(manner, &s->data->matrix, x, some.tokens, y, outcome);
}

adamoe_status adamoe_check_multiply_bitwise(const adamoe_checking *k)
{
    static const operation product = {compute_product, compute_some_products, NULL};
    const adamoe_case *c = k->c;
    adamoe_case_data data;
    if (!adamoe_check_claimed(k)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_multiply_data_create(c, k->seed, &data));
    subject s = {
        .k = k, .of = &product, .data = &data, .tokens = c->tokens, .width = c->rows, .x_width = c->columns};
    return check(&s, &data);
}

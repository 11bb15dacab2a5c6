/*
 * Gradients: the tier `bitwise`. From run to run, for any number of threads and any order of their tasks, and
 * for any batch: what belongs to a token depends on no other token, and the matrices of an expert on no rows
 * but its own.
 */
#include "check/tiers/arrange.h"
#include "check/tiers/again.h"
#include "check/tiers/data.h"
#include "check/tiers/gradient/judge.h"
#include "check/tiers/gradient/tiers.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* The whole batch, and what the kernel gave for it first. */
typedef struct subject {
    const adamoe_checking *k;
    adamoe_gradient_call call;
    adamoe_gradient_output expected, got;
} subject;

/* Calls and compares all tensors; false in *go_on where one is different. */
static adamoe_status compare(const void *subject_of, const adamoe_call_manner *manner, const char *what,
                             bool *go_on)
{
    const subject *s = subject_of;
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_backward(manner, &s->call, &s->got, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome) &&
             adamoe_check_gradient_same_bits(s->k, &s->got, &s->expected, what);
    return adamoe_ok();
}

static adamoe_status compute_first(const void *subject_of, const adamoe_call_manner *manner, bool *go_on)
{
    const subject *s = subject_of;
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_backward(manner, &s->call, &s->expected, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome);
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------- parts of a batch */

/* Some tokens of the batch as a batch of their own. */
typedef struct part {
    adamoe_plan *plan;
    float *x, *dy;
    adamoe_gradient_output got;
} part;

static void free_part(part *p)
{
    adamoe_plan_free(p->plan);
    free(p->x);
    free(p->dy);
    adamoe_gradient_output_free(&p->got);
}

static adamoe_status make_part(const subject *s, adamoe_arrangement some, part *p)
{
    const size_t d = s->k->c->hidden_size;
    ADAMOE_TRY(adamoe_arrange_plan(s->call.plan, some, &p->plan));
    ADAMOE_TRY(adamoe_check_floats(some.tokens * d, &p->x));
    ADAMOE_TRY(adamoe_check_floats(some.tokens * d, &p->dy));
    adamoe_arrange_rows(s->call.x, some, d, p->x);
    adamoe_arrange_rows(s->call.dy, some, d, p->dy);
    return adamoe_gradient_output_create(s->call.layer, p->plan, &p->got);
}

/* Of tensor `tensor`, `rows` rows from `at` in the part and from `from` in the whole batch. */
static bool same_rows(const subject *s, const part *p, size_t tensor, size_t at, size_t from, size_t rows,
                      const char *what)
{
    const size_t width = p->got.width[tensor];
    const bool same =
        adamoe_check_same_bits(s->k, p->got.tensor[tensor] + at * width,
                               s->expected.tensor[tensor] + from * width, rows * width, width, what);
    if (!same) {
        s->k->out->row += from;
        adamoe_check_gradient_place(s->k, tensor);
    }
    return same;
}

static bool same_tokens(const subject *s, const part *p, adamoe_arrangement some)
{
    const adamoe_plan *plan = s->call.plan;
    bool same = true;
    for (size_t i = 0; i < some.tokens && same; ++i) {
        const size_t t = some.token[i], first = plan->token_offset[t];
        char what[80];
        (void)snprintf(what, sizeof what, "token %zu among %zu tokens and among %zu", t, some.tokens,
                       plan->tokens);
        same = same_rows(s, p, ADAMOE_GRADIENT_X, i, t, 1, what) &&
               same_rows(s, p, ADAMOE_GRADIENT_COMBINE, p->plan->token_offset[i], first,
                         plan->token_offset[t + 1] - first, what) &&
               (plan->self_scale == NULL || same_rows(s, p, ADAMOE_GRADIENT_SELF_SCALE, i, t, 1, what));
    }
    return same;
}

/* The part has all tokens of this expert. */
static bool same_expert(const subject *s, const part *p, size_t expert)
{
    const size_t d = s->k->c->hidden_size, ff = s->k->c->intermediate_size;
    static const char what[] = "beside fewer rows of other experts, and beside all";
    return same_rows(s, p, ADAMOE_GRADIENT_W1, expert * ff, expert * ff, ff, what) &&
           same_rows(s, p, ADAMOE_GRADIENT_W3, expert * ff, expert * ff, ff, what) &&
           same_rows(s, p, ADAMOE_GRADIENT_W2, expert * d, expert * d, d, what);
}

/* False in *go_on where the call does not come to its end. */
static adamoe_status compute_part(const subject *s, const part *p, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(s->k, ADAMOE_GUARD_BACK);
    const adamoe_gradient_call call = {s->call.layer, p->plan, p->x, p->dy};
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_backward(&manner, &call, &p->got, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome);
    return adamoe_ok();
}

/* What a part of the batch is computed for. */
typedef enum purpose { ONLY_BEFORE = 0, ITS_TOKENS = 1, AN_EXPERT_TOO = 2 } purpose;

/* Computes some tokens, and compares what belongs to them, and to an expert that has no others. */
static adamoe_status compare_part(const subject *s, adamoe_arrangement some, purpose what_for, size_t expert,
                                  bool *go_on)
{
    part p = {.plan = NULL};
    adamoe_status status = make_part(s, some, &p);
    if (status.code == ADAMOE_OK) {
        status = compute_part(s, &p, go_on);
    }
    if (status.code == ADAMOE_OK && *go_on) {
        *go_on = (what_for < ITS_TOKENS || same_tokens(s, &p, some)) &&
                 (what_for < AN_EXPERT_TOO || same_expert(s, &p, expert));
    }
    free_part(&p);
    return status;
}

/* The tokens of an expert, to token [tokens]. */
static size_t tokens_of(const adamoe_plan *plan, size_t expert, uint32_t *token)
{
    const size_t first = plan->offset[expert], rows = plan->offset[expert + 1] - first;
    memcpy(token, plan->input + first, rows * sizeof *token);
    return rows;
}

static adamoe_status check_batch_with(const subject *s, uint32_t *token)
{
    const adamoe_plan *plan = s->call.plan;
    const size_t apart = plan->tokens > 6 ? plan->tokens / 6 : 1;
    bool go_on = true;
    for (size_t t = 0; t < plan->tokens && go_on; t += apart) {
        token[0] = (uint32_t)t;
        ADAMOE_TRY(compare_part(s, (adamoe_arrangement){.token = token, .tokens = 1}, ITS_TOKENS, 0, &go_on));
    }
    for (size_t e = 0; e < plan->experts && go_on; ++e) {
        const size_t rows = tokens_of(plan, e, token);
        ADAMOE_TRY(
            compare_part(s, (adamoe_arrangement){.token = token, .tokens = rows}, AN_EXPERT_TOO, e, &go_on));
    }
    return adamoe_ok();
}

static adamoe_status check_batch(const void *subject_of)
{
    const subject *s = subject_of;
    uint32_t *token = calloc(s->call.plan->tokens + 1, sizeof *token);
    if (token == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    const adamoe_status status = check_batch_with(s, token);
    free(token);
    return status;
}

/* After another batch on the same weights. */
static adamoe_status check_after(const void *subject_of)
{
    const subject *s = subject_of;
    const adamoe_call_manner manner = adamoe_check_manner(s->k, ADAMOE_GUARD_FRONT);
    bool go_on = true;
    if (s->call.plan->tokens > 1) {
        uint32_t last = (uint32_t)s->call.plan->tokens - 1;
        ADAMOE_TRY(
            compare_part(s, (adamoe_arrangement){.token = &last, .tokens = 1}, ONLY_BEFORE, 0, &go_on));
    }
    return go_on ? compare(s, &manner, "a run after another batch and the first", &go_on) : adamoe_ok();
}

adamoe_status adamoe_check_gradient_bitwise(const adamoe_checking *k)
{
    static const adamoe_bitwise of = {
        .first = compute_first, .again = compare, .after = check_after, .batch = check_batch};
    if (!adamoe_check_claimed(k)) {
        return adamoe_ok();
    }
    adamoe_case_data data;
    ADAMOE_TRY(adamoe_gradient_data_create(k->c, k->seed, &data));
    subject s = {.k = k, .call = {&data.layer.layer, data.plan, data.x, data.dy}};
    adamoe_status status = adamoe_gradient_output_create(s.call.layer, s.call.plan, &s.expected);
    if (status.code == ADAMOE_OK) {
        status = adamoe_gradient_output_create(s.call.layer, s.call.plan, &s.got);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_promise(k, &of, &s, data.plan->tokens == 0);
    }
    adamoe_gradient_output_free(&s.expected);
    adamoe_gradient_output_free(&s.got);
    adamoe_case_data_free(&data);
    return status;
}

/*
 * Gradients: the tier `property`, and of it what is not finite. x and dy of tokens without experts, and x of one that has some, are not finite: what
 * belongs to other tokens, and the matrices of experts that the one did not select, is as it was.
 */
#include "check/tiers/data.h"
#include "check/tiers/empty_sums.h"
#include "check/tiers/gradient/judge.h"
#include "check/tiers/poison.h"
#include "check/tiers/gradient/tiers.h"
#include "gradient/gradient_bound.h"
#include "plan.h"
#include "bound/bound.h"

#include <stdlib.h>
#include <string.h>

typedef struct trial {
    const adamoe_checking *k;
    const adamoe_case_data *data;
    size_t chosen; /* the token that has places and is poisoned, or ADAMOE_NOWHERE */
    float *x, *dy; /* [tokens, hidden_size] poisoned */
    adamoe_gradient_output expected, got;
    const adamoe_yardstick *const *yardstick; /* [ADAMOE_GRADIENT_TENSORS] whose expected is `expected` */
} trial;

static void poison(const trial *t, size_t i)
{
    const size_t d = t->k->c->hidden_size, bytes = t->k->c->tokens * d * sizeof(float);
    memcpy(t->x, t->data->x, bytes);
    memcpy(t->dy, t->data->dy, bytes);
    for (size_t token = 0; token < t->k->c->tokens; ++token) {
        const bool empty = adamoe_is_without_places(t->data->plan, token);
        if (empty) {
            adamoe_poison_row(i, t->dy + token * d, d);
        }
        if (empty || token == t->chosen) {
            adamoe_poison_row(i, t->x + token * d, d);
        }
    }
}

/* Takes the values of what is poisoned out of the comparison that follows: false where one of them is finite, though it
 * must not be. */
static bool take_out(const trial *t, size_t tensor, size_t row, size_t rows, bool is_poisoned,
                     const char *what)
{
    const size_t width = t->got.width[tensor];
    float *got = t->got.tensor[tensor] + row * width;
    const bool shows = !is_poisoned || adamoe_check_nowhere_finite(t->k, got, row, rows * width, width, what);
    if (!shows) {
        adamoe_check_gradient_place(t->k, tensor);
    }
    memcpy(got, t->expected.tensor[tensor] + row * width, rows * width * sizeof *got);
    return shows;
}

/* What belongs to tokens. A last channel alone need not show in all of dx: it does in what dx is made of. */
static bool take_out_tokens(const trial *t, const char *what)
{
    const adamoe_plan *plan = t->data->plan;
    bool shows = true;
    for (size_t token = 0; token < plan->tokens && shows; ++token) {
        const size_t first = plan->token_offset[token], places = plan->token_offset[token + 1] - first;
        if (token == t->chosen) {
            shows = take_out(t, ADAMOE_GRADIENT_X, token, 1, true, what) &&
                    take_out(t, ADAMOE_GRADIENT_COMBINE, first, places, true, what);
        }
        if (plan->self_scale != NULL && (token == t->chosen || places == 0)) {
            shows = shows && take_out(t, ADAMOE_GRADIENT_SELF_SCALE, token, 1, true, what);
        }
        if (plan->self_scale != NULL && places == 0) {
            shows = shows && take_out(t, ADAMOE_GRADIENT_X, token, 1, false, what);
        }
    }
    return shows;
}

static bool selects(const adamoe_plan *plan, size_t token, size_t expert)
{
    for (size_t place = plan->token_offset[token]; place < plan->token_offset[token + 1]; ++place) {
        if (adamoe_plan_expert(plan, plan->token_row[place]) == expert) {
            return true;
        }
    }
    return false;
}

static bool take_out_experts(const trial *t, const char *what)
{
    const size_t d = t->k->c->hidden_size, ff = t->k->c->intermediate_size;
    const adamoe_plan *plan = t->data->plan;
    bool shows = true;
    for (size_t e = 0; e < plan->experts && t->chosen != ADAMOE_NOWHERE && shows; ++e) {
        if (selects(plan, t->chosen, e)) {
            shows = take_out(t, ADAMOE_GRADIENT_W1, e * ff, ff, true, what) &&
                    take_out(t, ADAMOE_GRADIENT_W3, e * ff, ff, true, what) &&
                    take_out(t, ADAMOE_GRADIENT_W2, e * d, d, true, what);
        }
    }
    return shows;
}

/* By bits if the kernel guarantees them, by twice the bound otherwise. */
static bool judge(const trial *t)
{
    static const char what[] = "beside a token that is not finite, and beside one that is";
    const uint32_t wanted = ADAMOE_SAME_BITS_BATCH | ADAMOE_SAME_BITS_RUNS;
    bool same = true;
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS && same; ++i) {
        same = (t->k->kernel->guarantees & wanted) == wanted
                   ? adamoe_check_same_bits(t->k, t->got.tensor[i], t->expected.tensor[i], t->got.count[i],
                                            t->got.width[i], what)
                   : adamoe_check_judge(t->k, t->yardstick[i], t->got.tensor[i], t->got.width[i], 2.0);
        if (!same) {
            adamoe_check_gradient_place(t->k, i);
        }
    }
    return same;
}

static adamoe_status run_poison(const trial *t, size_t i, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    const adamoe_gradient_call call = {&t->data->layer.layer, t->data->plan, t->x, t->dy};
    adamoe_call_outcome outcome;
    char what[120];
    poison(t, i);
    ADAMOE_TRY(adamoe_call_backward(&manner, &call, &t->got, &outcome));
    (void)snprintf(what, sizeof what, "what belongs to a token whose x is %s", adamoe_poison_names[i]);
    *go_on = adamoe_check_called(t->k, &outcome);
    if (*go_on && !adamoe_check_empty_tokens(t->k, call.plan, t->got.tensor[ADAMOE_GRADIENT_X],
                                             t->got.width[ADAMOE_GRADIENT_X], what)) {
        adamoe_check_gradient_place(t->k, ADAMOE_GRADIENT_X);
        *go_on = false;
    }
    *go_on = *go_on && take_out_tokens(t, what) && take_out_experts(t, what) && judge(t);
    return adamoe_ok();
}

static adamoe_status run(trial *t)
{
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    const adamoe_gradient_call call = {&t->data->layer.layer, t->data->plan, t->data->x, t->data->dy};
    adamoe_call_outcome outcome;
    adamoe_gradient_yardstick y;
    ADAMOE_TRY(adamoe_call_backward(&manner, &call, &t->expected, &outcome));
    bool go_on = adamoe_check_called(t->k, &outcome);
    if (!go_on) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_gradient_yardstick_create(call.layer, call.x, call.plan, call.dy,
                                                (double)t->k->kernel->silu_error, &y));
    const adamoe_yardstick *const yardstick[] = {&y.dx, &y.dcombine, &y.dself, &y.w1, &y.w3, &y.w2};
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        for (size_t j = 0; j < yardstick[i]->count; ++j) {
            yardstick[i]->expected[j] = (double)t->expected.tensor[i][j];
        }
    }
    t->yardstick = yardstick;
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < ADAMOE_POISONS && go_on && status.code == ADAMOE_OK; ++i) {
        status = run_poison(t, i, &go_on);
    }
    adamoe_gradient_yardstick_free(&y);
    return status;
}

adamoe_status adamoe_check_gradient_property(const adamoe_checking *k)
{
    if (k->c->property == ADAMOE_PROPERTY_REPEATED_CALLS) {
        return adamoe_check_gradient_repeated(k);
    }
    const size_t count = k->c->tokens * k->c->hidden_size;
    adamoe_case_data data;
    trial t = {.k = k, .data = &data};
    ADAMOE_TRY(adamoe_gradient_data_create(k->c, k->seed, &data));
    t.chosen = adamoe_poisoned_token(data.plan);
    adamoe_status status = adamoe_gradient_output_create(&data.layer.layer, data.plan, &t.expected);
    if (status.code == ADAMOE_OK) {
        status = adamoe_gradient_output_create(&data.layer.layer, data.plan, &t.got);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_floats(count, &t.x);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_floats(count, &t.dy);
    }
    if (status.code == ADAMOE_OK) {
        status = run(&t);
    }
    free(t.x);
    free(t.dy);
    adamoe_gradient_output_free(&t.expected);
    adamoe_gradient_output_free(&t.got);
    adamoe_case_data_free(&data);
    return status;
}

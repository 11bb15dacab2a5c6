/*
 * Calls with what a fresh object gives for each: see lifetime.h.
 */
#include "check/tiers/lifetime.h"
#include "check/tiers/arrange.h"
#include "bound/judge.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* In which respect two calls of one size differ. */
enum { PLANS = 4, INPUTS = 3, SIZES = 4 };
enum { PLAN_REVERSED_EXPERTS = 1, PLAN_REVERSED_TOKENS = 2, PLAN_DOUBLE_WEIGHTS = 3 };
enum { INPUT_OTHERS = 1, INPUT_LAST_ELEMENT = 2 };

_Static_assert(PLANS *INPUTS *SIZES <= ADAMOE_MOST_LIFETIME_CALLS, "room for all calls");

static bool is_product(const adamoe_lifetime *t)
{
    return t->data->plan == NULL;
}

static bool guarantees_bits(const adamoe_lifetime *t)
{
    return (t->k->kernel->guarantees & ADAMOE_SAME_BITS_RUNS) != 0;
}

/* -------------------------------------------------------------------------------------------------- calls */

static void double_weights(adamoe_plan *plan, size_t places)
{
    float *combine = (float *)(uintptr_t)plan->combine, *self_scale = (float *)(uintptr_t)plan->self_scale;
    for (size_t i = 0; i < places; ++i) {
        combine[i] *= 2.0f;
    }
    for (size_t i = 0; i < plan->tokens && self_scale != NULL; ++i) {
        self_scale[i] *= 2.0f;
    }
}

static adamoe_status make_plan(const adamoe_lifetime *t, size_t tokens, size_t way, adamoe_plan **out)
{
    const adamoe_plan *from = t->data->plan;
    uint32_t *order = calloc(tokens + from->experts, sizeof *order);
    if (order == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    uint32_t *expert = order + tokens;
    for (size_t i = 0; i < tokens; ++i) {
        order[i] = (uint32_t)(way == PLAN_REVERSED_TOKENS ? tokens - 1 - i : i);
    }
    for (size_t e = 0; e < from->experts; ++e) {
        expert[e] = (uint32_t)(from->experts - 1 - e);
    }
    const adamoe_arrangement arrangement = {
        .token = order, .tokens = tokens, .expert = way == PLAN_REVERSED_EXPERTS ? expert : NULL};
    const adamoe_status status = adamoe_arrange_plan(from, arrangement, out);
    free(order);
    if (status.code == ADAMOE_OK && way == PLAN_DOUBLE_WEIGHTS) {
        double_weights(*out, (*out)->token_offset[tokens]);
    }
    return status;
}

static adamoe_status make_input(const adamoe_lifetime *t, size_t tokens, size_t way, float **out)
{
    const size_t width = t->x_width;
    ADAMOE_TRY(adamoe_check_floats(tokens * width, out));
    for (size_t i = 0; i < tokens * width; ++i) {
        const size_t other = (i / width + 1) % t->k->c->tokens * width + i % width;
        (*out)[i] = way == INPUT_OTHERS ? -t->data->x[other] : t->data->x[i];
    }
    if (way == INPUT_LAST_ELEMENT) {
        (*out)[tokens * width - 1] += 1.0f;
    }
    return adamoe_ok();
}

static adamoe_status set_yardstick(const adamoe_lifetime *t, adamoe_lifetime_call *c, bool other)
{
    const adamoe_declared arithmetic = adamoe_kernel_arithmetic(t->k->kernel);
    const adamoe_layer *layer = other ? &t->other_layer : &t->data->layer.layer;
    const adamoe_matrix *matrix = other ? &t->other_matrix : &t->data->matrix;
    const float *expected = other ? c->other : c->expected;
    adamoe_yardstick *y = &c->yardstick[other];
    ADAMOE_TRY(adamoe_yardstick_create(c->tokens * (other ? t->other_width : t->y_width), y));
    ADAMOE_TRY(is_product(t) ? adamoe_matrix_yardstick(matrix, arithmetic, c->x, c->tokens, y)
                             : adamoe_layer_yardstick(layer, arithmetic, c->x, c->plan, y));
    for (size_t i = 0; i < y->count; ++i) {
        y->expected[i] = (double)expected[i];
    }
    return adamoe_ok();
}

static adamoe_status add_call(adamoe_lifetime *t, size_t tokens, size_t plan, size_t input)
{
    adamoe_lifetime_call *c = &t->call[t->calls++];
    c->tokens = tokens;
    if (!is_product(t)) {
        ADAMOE_TRY(make_plan(t, tokens, plan, &c->plan));
    }
    ADAMOE_TRY(make_input(t, tokens, input, &c->x));
    ADAMOE_TRY(adamoe_check_floats(tokens * t->y_width, &c->expected));
    return adamoe_check_floats(tokens * t->other_width, &c->other);
}

static adamoe_status set_expected(adamoe_lifetime *t, bool *go_on)
{
    const bool several = t->k->c->property == ADAMOE_PROPERTY_SEVERAL_OBJECTS;
    *go_on = true;
    for (size_t i = 0; i < t->calls && *go_on; ++i) {
        ADAMOE_TRY(adamoe_lifetime_fresh(t, i, false, t->call[i].expected, go_on));
        if (*go_on && several) {
            ADAMOE_TRY(adamoe_lifetime_fresh(t, i, true, t->call[i].other, go_on));
        }
        if (*go_on && !guarantees_bits(t)) {
            ADAMOE_TRY(set_yardstick(t, &t->call[i], false));
            ADAMOE_TRY(several ? set_yardstick(t, &t->call[i], true) : adamoe_ok());
        }
    }
    return adamoe_ok();
}

static adamoe_status make_calls(adamoe_lifetime *t)
{
    const size_t all = t->k->c->tokens, sizes[SIZES] = {all, 1, (all + 1) / 2, all < 2 ? all : 2};
    const size_t most = t->k->c->property == ADAMOE_PROPERTY_SEVERAL_OBJECTS ? 1 : SIZES;
    for (size_t i = 0; i < PLANS * INPUTS * most; ++i) {
        const size_t plan = i / INPUTS % PLANS;
        if (plan == 0 || !is_product(t)) {
            ADAMOE_TRY(add_call(t, sizes[i / INPUTS / PLANS], plan, i % INPUTS));
        }
    }
    return adamoe_ok();
}

static adamoe_status make_others(adamoe_lifetime *t)
{
    if (is_product(t)) {
        t->other_matrix = t->data->matrix;
        t->other_width = t->other_matrix.rows = (t->data->matrix.rows + 1) / 2;
        return adamoe_ok();
    }
    t->other_layer = t->data->layer.layer;
    t->other_width = t->y_width;
    t->reversed = calloc(t->other_layer.experts, sizeof *t->reversed);
    if (t->reversed == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t e = 0; e < t->other_layer.experts; ++e) {
        t->reversed[e] = t->other_layer.expert[t->other_layer.experts - 1 - e];
    }
    t->other_layer.expert = t->reversed;
    return adamoe_ok();
}

adamoe_status adamoe_lifetime_create(const adamoe_checking *k, const adamoe_case_data *data,
                                     adamoe_lifetime *out, bool *go_on)
{
    *out = (adamoe_lifetime){.k = k, .data = data};
    *go_on = false;
    out->x_width = is_product(out) ? k->c->columns : k->c->hidden_size;
    out->y_width = is_product(out) ? k->c->rows : k->c->hidden_size;
    ADAMOE_TRY(make_others(out));
    ADAMOE_TRY(make_calls(out));
    ADAMOE_TRY(adamoe_check_floats(k->c->tokens * out->y_width, &out->got));
    return set_expected(out, go_on);
}

void adamoe_lifetime_free(adamoe_lifetime *t)
{
    for (size_t i = 0; i < t->calls; ++i) {
        adamoe_plan_free(t->call[i].plan);
        free(t->call[i].x);
        free(t->call[i].expected);
        free(t->call[i].other);
        adamoe_yardstick_free(&t->call[i].yardstick[false]);
        adamoe_yardstick_free(&t->call[i].yardstick[true]);
    }
    free(t->reversed);
    free(t->got);
}

/* ------------------------------------------------------------------------------------------------ objects */

adamoe_status adamoe_lifetime_fresh(const adamoe_lifetime *t, size_t i, bool other, float *y, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    const adamoe_lifetime_call *c = &t->call[i];
    const adamoe_experts_call call = {
        .layer = other ? &t->other_layer : &t->data->layer.layer, .plan = c->plan, .x = c->x};
    adamoe_call_outcome outcome;
    ADAMOE_TRY(is_product(t) ? adamoe_call_multiply(&manner, other ? &t->other_matrix : &t->data->matrix,
                                                    c->x, c->tokens, y, &outcome)
                             : adamoe_call_experts(&manner, &call, y, &outcome));
    *go_on = adamoe_check_called(t->k, &outcome);
    return adamoe_ok();
}

adamoe_status adamoe_lifetime_object(const adamoe_lifetime *t, bool other, const adamoe_call_manner *manner,
                                     adamoe_call_outcome *outcome, adamoe_repeated **out)
{
    const adamoe_case *c = t->k->c;
    const size_t rows = is_product(t) ? 0 : t->data->plan->token_offset[c->tokens];
    return is_product(t) ? adamoe_repeated_create_matrix(manner, other ? &t->other_matrix : &t->data->matrix,
                                                         c->tokens, outcome, out)
                         : adamoe_repeated_create(manner, other ? &t->other_layer : &t->data->layer.layer,
                                                  (adamoe_repeated_room){c->tokens, rows}, outcome, out);
}

bool adamoe_lifetime_call_object(const adamoe_lifetime *t, adamoe_repeated *object, size_t i, float *y)
{
    const adamoe_lifetime_call *c = &t->call[i];
    return is_product(t) ? adamoe_repeated_multiply(object, c->x, c->tokens, y)
                         : adamoe_repeated_experts(object, c->plan, c->x, y);
}

bool adamoe_lifetime_differs(const adamoe_lifetime *t, size_t i, bool other, const float *y)
{
    const adamoe_lifetime_call *c = &t->call[i];
    const size_t width = other ? t->other_width : t->y_width;
    return guarantees_bits(t) ? memcmp(y, other ? c->other : c->expected, c->tokens * width * sizeof *y) != 0
                              : !adamoe_judge(&c->yardstick[other], y, 2.0).passed;
}

bool adamoe_lifetime_judge(const adamoe_lifetime *t, size_t i, bool other, const float *y, const char *what)
{
    const adamoe_lifetime_call *c = &t->call[i];
    const size_t width = other ? t->other_width : t->y_width;
    return guarantees_bits(t) ? adamoe_check_same_bits(t->k, y, other ? c->other : c->expected,
                                                       c->tokens * width, width, what)
                              : adamoe_check_judge(t->k, &c->yardstick[other], y, width, 2.0);
}

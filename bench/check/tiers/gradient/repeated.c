/*
 * Gradients: the property `repeated-calls`.
 */
#include "check/tiers/arrange.h"
#include "check/tiers/data.h"
#include "check/tiers/gradient/judge.h"
#include "check/tiers/gradient/tiers.h"
#include "check/tiers/repeated.h"
#include "gradient/gradient_bound.h"
#include "plan.h"

#include <stdlib.h>

/* In which respect a call differs from the case's: in one alone, or in its size. */
typedef enum change {
    NOTHING = 0,
    OTHER_X = 1,
    OTHER_DY = 2,
    OTHER_WEIGHTS = 3, /* of experts, which stand in reverse: as after a step of training */
    OTHER_COMBINE = 4,
    OTHER_PLAN = 5, /* as many rows */
    HALF_THE_TOKENS = 6,
    ONE_TOKEN = 7,
    CHANGES = 8,
} change;

/* One call, with what the kernel gave first. */
typedef struct variant {
    adamoe_layer layer;
    adamoe_plan *plan;
    float *x, *dy;
    adamoe_gradient_yardstick yardstick;
    adamoe_gradient_output expected, got;
} variant;

typedef struct subject {
    const adamoe_checking *k;
    adamoe_case_data data;
    adamoe_expert *reversed; /* [experts] */
    variant variant[CHANGES];
} subject;

static void negate(float *values, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        values[i] = -values[i];
    }
}

/* The first tokens of the batch, in reverse for another plan. */
static adamoe_status arrange(const subject *s, change what, size_t tokens, variant *v)
{
    const size_t d = s->k->c->hidden_size;
    uint32_t *order = calloc(tokens + 1, sizeof *order);
    if (order == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t i = 0; i < tokens; ++i) {
        order[i] = (uint32_t)(what == OTHER_PLAN ? tokens - 1 - i : i);
    }
    const adamoe_status status =
        adamoe_arrange_plan(s->data.plan, (adamoe_arrangement){.token = order, .tokens = tokens}, &v->plan);
    for (size_t i = 0; i < tokens; ++i) {
        order[i] = (uint32_t)i;
    }
    adamoe_arrange_rows(s->data.x, (adamoe_arrangement){.token = order, .tokens = tokens}, d, v->x);
    adamoe_arrange_rows(s->data.dy, (adamoe_arrangement){.token = order, .tokens = tokens}, d, v->dy);
    free(order);
    return status;
}

static adamoe_status create(subject *s, change what)
{
    variant *v = &s->variant[what];
    const size_t all = s->k->c->tokens, d = s->k->c->hidden_size;
    const size_t tokens = what == HALF_THE_TOKENS ? (all + 1) / 2 : what == ONE_TOKEN ? 1 : all;
    v->layer = s->data.layer.layer;
    ADAMOE_TRY(adamoe_check_floats(tokens * d, &v->x));
    ADAMOE_TRY(adamoe_check_floats(tokens * d, &v->dy));
    ADAMOE_TRY(arrange(s, what, tokens, v));
    if (what == OTHER_X || what == OTHER_DY) {
        negate(what == OTHER_X ? v->x : v->dy, tokens * d);
    } else if (what == OTHER_WEIGHTS) {
        v->layer.expert = s->reversed;
    } else if (what == OTHER_COMBINE) {
        negate((float *)(uintptr_t)v->plan->combine, v->plan->token_offset[tokens]);
    }
    ADAMOE_TRY(adamoe_gradient_output_create(&v->layer, v->plan, &v->expected));
    ADAMOE_TRY(adamoe_gradient_output_create(&v->layer, v->plan, &v->got));
    return adamoe_gradient_yardstick_create(&v->layer, v->x, v->plan, v->dy, (double)s->k->kernel->silu_error,
                                            &v->yardstick);
}

static adamoe_status create_all(subject *s)
{
    const adamoe_layer *layer = &s->data.layer.layer;
    s->reversed = calloc(layer->experts, sizeof *s->reversed);
    if (s->reversed == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t e = 0; e < layer->experts; ++e) {
        s->reversed[e] = layer->expert[layer->experts - 1 - e];
    }
    for (size_t i = 0; i < CHANGES; ++i) {
        ADAMOE_TRY(create(s, (change)i));
    }
    return adamoe_ok();
}

static void free_all(subject *s)
{
    for (size_t i = 0; i < CHANGES; ++i) {
        variant *v = &s->variant[i];
        adamoe_plan_free(v->plan);
        free(v->x);
        free(v->dy);
        adamoe_gradient_yardstick_free(&v->yardstick);
        adamoe_gradient_output_free(&v->expected);
        adamoe_gradient_output_free(&v->got);
    }
    free(s->reversed);
    adamoe_case_data_free(&s->data);
}

static bool judge(const subject *s, size_t i, const adamoe_gradient_output *got)
{
    const variant *v = &s->variant[i];
    const adamoe_gradient_yardstick *y = &v->yardstick;
    const adamoe_yardstick *const yardstick[] = {&y->dx, &y->dcombine, &y->dself, &y->w1, &y->w3, &y->w2};
    return adamoe_check_gradient_result(s->k, v->plan, yardstick, got);
}

static adamoe_status compute(const subject *s, size_t i, const adamoe_call_manner *manner,
                             const adamoe_gradient_output *out, bool *go_on)
{
    const variant *v = &s->variant[i];
    const adamoe_gradient_call call = {&v->layer, v->plan, v->x, v->dy};
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_backward(manner, &call, out, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome);
    return adamoe_ok();
}

static adamoe_status call_first(const void *subject_of, size_t i, const adamoe_call_manner *manner,
                                bool *go_on)
{
    const subject *s = subject_of;
    ADAMOE_TRY(compute(s, i, manner, &s->variant[i].expected, go_on));
    *go_on = *go_on && judge(s, i, &s->variant[i].expected);
    return adamoe_ok();
}

static adamoe_status call_again(const void *subject_of, size_t i, const adamoe_call_manner *manner,
                                const char *what, bool *go_on)
{
    const subject *s = subject_of;
    const variant *v = &s->variant[i];
    ADAMOE_TRY(compute(s, i, manner, &v->got, go_on));
    *go_on = *go_on && (adamoe_check_promises_runs(s->k)
                            ? adamoe_check_gradient_same_bits(s->k, &v->got, &v->expected, what)
                            : judge(s, i, &v->got));
    return adamoe_ok();
}

adamoe_status adamoe_check_gradient_repeated(const adamoe_checking *k)
{
    subject s = {.k = k};
    const adamoe_variants variants = {&s, CHANGES, call_first, call_again};
    if (k->c->tokens == 0) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "there is nothing to compare");
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_gradient_data_create(k->c, k->seed, &s.data));
    adamoe_status status = create_all(&s);
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_repeated(k, &variants);
    }
    free_all(&s);
    return status;
}

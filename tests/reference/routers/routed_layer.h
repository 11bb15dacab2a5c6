/*
 * A layer with a router in double: an objective of its output and its losses, and the objective's gradient.
 */
#ifndef ADAMOE_ROUTED_LAYER_H
#define ADAMOE_ROUTED_LAYER_H

#include "test.h"
#include "gradient/gradient.h"
#include "routers/routers.h"

/* objective = sum of direction * y + sum over the router's losses of weight * loss */
typedef struct routed_layer {
    const adamoe_layer *layer;
    const adamoe_router *router;
    const adamoe_router_call *call;
    const double *direction; /* [tokens, hidden_size] */
    double loss_weight[ADAMOE_ROUTER_LOSSES];
} routed_layer;

static inline const double *routed_numbers(const adamoe_routed *routed, const char *name)
{
    const adamoe_routed_array *array = adamoe_routed_find(routed, name);
    return array == NULL ? NULL : array->number;
}

/* The plan's weights as the router computed them, by place; and what its rows read. To be freed. */
typedef struct routed_doubles {
    adamoe_plan_weights weights;
    double *x;
} routed_doubles;

static inline routed_doubles take_doubles(const routed_layer *l, const adamoe_routed *routed)
{
    const adamoe_plan *plan = routed->plan;
    const double *combine = routed_numbers(routed, "combine"), *slots = routed_numbers(routed, "slots");
    const double *self_scale = routed_numbers(routed, "self_scale");
    const size_t places = plan->token_offset[plan->tokens], inputs = plan->inputs * l->call->hidden_size;
    routed_doubles out = {{calloc(places + 1, sizeof(double)), NULL}, calloc(inputs, sizeof(double))};
    for (size_t i = 0; i < places; ++i) { /* with slots, combine is [tokens, slots], as the places are */
        out.weights.combine[i] = combine[slots == NULL ? plan->token_row[i] : i];
    }
    for (size_t i = 0; i < inputs; ++i) {
        out.x[i] = slots == NULL ? (double)l->call->hidden_states[i] : slots[i];
    }
    if (self_scale != NULL) {
        out.weights.self_scale = calloc(plan->tokens, sizeof(double));
        memcpy(out.weights.self_scale, self_scale, plan->tokens * sizeof(double));
    }
    return out;
}

static inline void free_doubles(routed_doubles *d)
{
    free(d->weights.combine);
    free(d->weights.self_scale);
    free(d->x);
}

/* The caller frees *routed. */
static inline double routed_objective(const routed_layer *l, adamoe_routed *routed)
{
    assert_ok(adamoe_router_run(l->router, l->call, routed));
    const size_t count = l->call->tokens * l->call->hidden_size;
    const double *after = routed_numbers(routed, "after");
    routed_doubles d = take_doubles(l, routed);
    double *y = calloc(count, sizeof *y), sum = 0.0;
    double *work = calloc(adamoe_plan_backward_work(l->layer), sizeof *work);
    assert_true((after != NULL) == (routed->after != NULL));
    adamoe_plan_double(l->layer, d.x, routed->plan, &d.weights, y, work);
    for (size_t i = 0; i < count; ++i) {
        sum += l->direction[i] * (y[i] + (after == NULL ? 0.0 : after[i]));
    }
    for (size_t i = 0; i < ADAMOE_ROUTER_LOSSES && l->router->loss[i] != NULL; ++i) {
        char name[48];
        (void)snprintf(name, sizeof name, "loss.%s", l->router->loss[i]);
        assert_non_null(routed_numbers(routed, name));
        sum += l->loss_weight[i] * routed_numbers(routed, name)[0];
    }
    free(work);
    free(y);
    free_doubles(&d);
    return sum;
}

/* gradient, and `expert` unless it is NULL, += the objective's derivative, for what routed_objective left. */
static inline void routed_gradient(const routed_layer *l, adamoe_routed *routed,
                                   const adamoe_router_gradient *gradient,
                                   const adamoe_expert_gradient *expert)
{
    const adamoe_plan *plan = routed->plan;
    const size_t d = l->call->hidden_size;
    routed_doubles doubles = take_doubles(l, routed);
    double *dx = calloc(plan->inputs * d, sizeof *dx);
    double *work = calloc(adamoe_plan_backward_work(l->layer), sizeof *work);
    const adamoe_plan_weights derivative = {calloc(plan->token_offset[plan->tokens] + 1, sizeof(double)),
                                            calloc(plan->tokens, sizeof(double))};
    adamoe_plan_backward(l->layer, doubles.x, plan, &doubles.weights, l->direction, dx, expert, &derivative,
                         work);
    adamoe_router_derivative given = {.combine = derivative.combine,
                                      .self_scale = derivative.self_scale,
                                      .inputs = dx,
                                      .after = l->direction};
    memcpy(given.loss, l->loss_weight, sizeof given.loss);
    assert_ok(adamoe_routed_backward(l->router, l->call, routed, &given, gradient));
    for (size_t i = 0; i < plan->inputs * d && routed->inputs == NULL; ++i) {
        gradient->hidden_states[i] += dx[i];
    }
    free(derivative.combine);
    free(derivative.self_scale);
    free(dx);
    free(work);
    free_doubles(&doubles);
}

#endif

/*
 * The definition's gradient of a plan as the backward function of the contract: floats become doubles,
 * adamoe_plan_backward adds to zeros, and the sums become floats.
 */
#include "gradient/gradient.h"

#include <string.h>

/* Doubles of the workspace, one array after the other. Matrices stand as w1, w3, w2, expert by expert. */
typedef struct sizes {
    size_t values, places, tokens, matrix, matrices, work;
} sizes;

static adamoe_layer layer_of(const adamoe_backward_call *call)
{
    return (adamoe_layer){.hidden_size = call->hidden_size,
                          .intermediate_size = call->intermediate_size,
                          .experts = call->plan->experts};
}

static sizes sizes_of(const adamoe_backward_call *call)
{
    const adamoe_plan *plan = call->plan;
    const adamoe_layer layer = layer_of(call);
    const size_t matrix = call->hidden_size * call->intermediate_size;
    return (sizes){.values = plan->tokens * call->hidden_size,
                   .places = plan->token_offset[plan->tokens],
                   .tokens = plan->tokens,
                   .matrix = matrix,
                   .matrices = 3 * plan->experts * matrix,
                   .work = adamoe_plan_backward_work(&layer)};
}

size_t adamoe_reference_backward_work_bytes(const adamoe_backward_call *call, uint32_t threads)
{
    (void)threads;
    const sizes s = sizes_of(call);
    const size_t doubles = 3 * s.values + 2 * s.places + 2 * s.tokens + s.matrices + s.work;
    return doubles * sizeof(double) +
           call->plan->experts * (sizeof(adamoe_expert) + sizeof(adamoe_expert_gradient));
}

/* Takes `count` doubles from the workspace: those of `from`, or zeros. */
static double *take(double **work, const float *from, size_t count)
{
    double *taken = *work;
    *work += count;
    for (size_t i = 0; i < count; ++i) {
        taken[i] = from == NULL ? 0.0 : (double)from[i];
    }
    return taken;
}

static void give(const double *from, size_t count, float *to)
{
    for (size_t i = 0; i < count; ++i) {
        to[i] = (float)from[i];
    }
}

static void view_experts(const adamoe_backward_call *call, double *gradient, adamoe_expert *expert,
                         adamoe_expert_gradient *dexpert)
{
    const size_t d = call->hidden_size, ff = call->intermediate_size, matrix = d * ff;
    for (size_t e = 0; e < call->plan->experts; ++e) {
        const adamoe_float_expert *weights = &call->expert[e];
        double *own = gradient + 3 * e * matrix;
        expert[e] = (adamoe_expert){.w1 = {weights->w1, ADAMOE_F32, ff, d},
                                    .w3 = {weights->w3, ADAMOE_F32, ff, d},
                                    .w2 = {weights->w2, ADAMOE_F32, d, ff}};
        dexpert[e] = (adamoe_expert_gradient){own, own + matrix, own + 2 * matrix};
    }
}

static void give_experts(const adamoe_backward_call *call, const adamoe_expert_gradient *from, size_t matrix)
{
    for (size_t e = 0; e < call->plan->experts; ++e) {
        give(from[e].w1, matrix, call->dexpert[e].w1);
        give(from[e].w3, matrix, call->dexpert[e].w3);
        give(from[e].w2, matrix, call->dexpert[e].w2);
    }
}

adamoe_status adamoe_reference_backward(const adamoe_run *run, const adamoe_backward_call *call)
{
    const adamoe_plan *plan = call->plan;
    const sizes s = sizes_of(call);
    if (run->work_bytes < adamoe_reference_backward_work_bytes(call, 1)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "reference: backward: workspace too small");
    }
    double *work = run->work;
    const double *x = take(&work, call->x, s.values), *dy = take(&work, call->dy, s.values);
    double *dx = take(&work, NULL, s.values), *gradient = take(&work, NULL, s.matrices);
    const adamoe_plan_weights weights = {take(&work, plan->combine, s.places),
                                         plan->self_scale == NULL ? NULL
                                                                  : take(&work, plan->self_scale, s.tokens)};
    const adamoe_plan_weights derivative = {take(&work, NULL, s.places), take(&work, NULL, s.tokens)};
    double *plan_work = take(&work, NULL, s.work);
    adamoe_expert *expert = (adamoe_expert *)(void *)work;
    adamoe_expert_gradient *dexpert = (adamoe_expert_gradient *)(void *)(expert + plan->experts);
    adamoe_layer layer = layer_of(call);
    layer.expert = expert;

    view_experts(call, gradient, expert, dexpert);
    adamoe_plan_backward(&layer, x, plan, &weights, dy, dx, dexpert, &derivative, plan_work);
    give(dx, s.values, call->dx);
    give(derivative.combine, s.places, call->dcombine);
    if (call->dself_scale != NULL) {
        give(derivative.self_scale, s.tokens, call->dself_scale);
    }
    give_experts(call, dexpert, s.matrix);
    return adamoe_ok();
}

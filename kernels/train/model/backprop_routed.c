/*
 * A layer whose tokens a router of reference/routers/ routes, forward and backward. The router itself is the
 * definition, in double and by one thread, so that a run has the same bits for any number of threads; products and
 * experts are the fast ones.
 */
#include "train/model/backprop_parts.h"

#include <stdlib.h>

const adamoe_plan *backprop_plan(const adamoe_backprop *b, size_t layer)
{
    return b->router == NULL ? &b->layer[layer].plan.plan : b->layer[layer].routed.routed.plan;
}

adamoe_status backprop_route_by_router(adamoe_backprop *b, size_t layer)
{
    const adamoe_config *c = b->config;
    const adamoe_layer *moe = &backprop_block(b, layer)->moe;
    backprop_layer *l = &b->layer[layer];
    ADAMOE_TRY(adamoe_routing_space_begin(&l->routing, b->tokens, c->experts, c->null_experts, c->rule));
    if (adamoe_router_has_gate(b->router->router)) {
        b->gemm[0] = adamoe_gemm_forward(b->at.normed, moe->gate.data, b->tokens, c->hidden_size,
                                         c->experts + c->null_experts, l->routing.routing.logits);
        adamoe_gemm_run(b->gemm_space, b->gemm, 1);
    }
    adamoe_routed_layer_free(&l->routed);
    return adamoe_model_router_run(b->router, layer, moe, b->at.normed, b->tokens, l->routing.routing.logits,
                                   &l->routed);
}

double backprop_router_losses(adamoe_backprop *b, double alpha)
{
    double sum = 0.0;
    for (size_t layer = 0; layer < b->config->layers; ++layer) {
        double weight[ADAMOE_ROUTER_LOSSES];
        adamoe_model_router_loss_weights(b->router, layer, alpha, weight);
        sum += adamoe_model_router_loss(b->router, &b->layer[layer].routed.routed, weight);
    }
    b->router_alpha = alpha;
    return sum;
}

/* Derivatives in double, of one layer. */
typedef struct routed_derivatives {
    double *combine, *self_scale;    /* [places], [tokens] given */
    double *hidden_states, *gate[2]; /* [T, d]; [n, d], [m, d] */
} routed_derivatives;

static void free_derivatives(routed_derivatives *d)
{
    free(d->combine);
    free(d->self_scale);
    free(d->hidden_states);
    free(d->gate[0]);
    free(d->gate[1]);
}

static double *widen(const float *values, size_t count)
{
    double *wide = calloc(count + 1, sizeof *wide);
    for (size_t i = 0; values != NULL && wide != NULL && i < count; ++i) {
        wide[i] = (double)values[i];
    }
    return wide;
}

static adamoe_status begin_derivatives(const adamoe_backprop *b, const adamoe_plan *plan,
                                       routed_derivatives *d)
{
    const adamoe_config *c = b->config;
    *d = (routed_derivatives){
        .combine = widen(b->at.dweight, plan->token_offset[plan->tokens]),
        .self_scale = widen(plan->self_scale == NULL ? NULL : b->at.dself, b->tokens),
        .hidden_states = widen(NULL, b->tokens * c->hidden_size),
        .gate = {widen(NULL, c->experts * c->hidden_size), widen(NULL, c->null_experts * c->hidden_size)}};
    if (d->combine != NULL && d->self_scale != NULL && d->hidden_states != NULL && d->gate[0] != NULL &&
        d->gate[1] != NULL) {
        return adamoe_ok();
    }
    free_derivatives(d);
    return adamoe_error(ADAMOE_ENVIRONMENT, "training: out of memory");
}

/* dnormed += what the hidden states get; gate and gate2, which lie one behind the other, receive theirs. */
static void take_derivatives(adamoe_backprop *b, size_t layer, const routed_derivatives *d)
{
    const adamoe_config *c = b->config;
    const size_t of_gate = c->experts * c->hidden_size, of_gate2 = c->null_experts * c->hidden_size;
    float *dgate = backprop_gradient(b, ADAMOE_ROUTER, &backprop_block(b, layer)->moe.gate);
    for (size_t i = 0; i < b->tokens * c->hidden_size; ++i) {
        b->at.dnormed[i] += (float)d->hidden_states[i];
    }
    for (size_t i = 0; dgate != NULL && i < of_gate + of_gate2; ++i) {
        dgate[i] = (float)(i < of_gate ? d->gate[0][i] : d->gate[1][i - of_gate]);
    }
}

adamoe_status backprop_routed_backward(adamoe_backprop *b, size_t layer)
{
    adamoe_routed_layer *routed = &b->layer[layer].routed;
    routed_derivatives d;
    ADAMOE_TRY(begin_derivatives(b, routed->routed.plan, &d));
    adamoe_router_derivative derivative = {.combine = d.combine, .self_scale = d.self_scale};
    adamoe_model_router_loss_weights(b->router, layer, b->router_alpha, derivative.loss);
    double *tensor[sizeof routed->tensor / sizeof *routed->tensor] = {d.gate[0], d.gate[1]};
    const adamoe_router_gradient gradient = {d.hidden_states, tensor};
    const adamoe_status status =
        adamoe_routed_backward(b->router->router, &routed->call, &routed->routed, &derivative, &gradient);
    if (status.code == ADAMOE_OK) {
        take_derivatives(b, layer, &d);
    }
    free_derivatives(&d);
    return status;
}

void backprop_advance_router(adamoe_backprop *b)
{
    for (size_t layer = 0; layer < b->config->layers; ++layer) {
        adamoe_model_router_advance(b->router, layer, &b->layer[layer].routed.routed);
    }
}

adamoe_status adamoe_backprop_use_router(adamoe_backprop *b, adamoe_model_router *router)
{
    const adamoe_architecture *a = &b->config->architecture;
    if (a->dense || a->multipliers) {
        return adamoe_error(ADAMOE_BAD_INPUT, "router %s: %s", router->router->name,
                            a->dense ? "a dense model has no router"
                                     : "a residual multiplier is not known to routers");
    }
    b->router = router;
    return adamoe_ok();
}

/*
 * The part of a layer that its experts are: norm, router and residual around train/experts.h.
 */
#include "train/model/backprop_parts.h"

/* Fills `expert` and, where it is wanted, `expert_gradient` of the layer. */
static adamoe_experts_pass pass_of(adamoe_backprop *b, size_t layer)
{
    const adamoe_config *c = b->config;
    for (size_t e = 0; e < c->experts; ++e) {
        const adamoe_expert *w = &backprop_block(b, layer)->moe.expert[e];
        b->expert[e] = (adamoe_float_expert){w->w1.data, w->w3.data, w->w2.data};
        b->expert_gradient[e] = (adamoe_float_expert_gradient){backprop_gradient(b, ADAMOE_EXPERTS, &w->w1),
                                                               backprop_gradient(b, ADAMOE_EXPERTS, &w->w3),
                                                               backprop_gradient(b, ADAMOE_EXPERTS, &w->w2)};
    }
    const backprop_layer *l = &b->layer[layer];
    return (adamoe_experts_pass){.hidden_size = c->hidden_size,
                                 .intermediate_size = c->intermediate_size,
                                 .team = b->team,
                                 .ops = b->ops,
                                 .train_ops = b->train_ops,
                                 .gemm_space = b->gemm_space,
                                 .gemm = b->gemm,
                                 .expert = b->expert,
                                 .plan = backprop_plan(b, layer),
                                 .x = b->at.normed,
                                 .gate = l->gate,
                                 .up = l->up,
                                 .hidden = b->at.hidden,
                                 .dhidden = b->at.dhidden,
                                 .slots = b->at.slots};
}

/* The residual multiplier goes into the weights of the plan, so that the sum over a token's experts is what is
 * added. */
static void weigh_plan(const adamoe_backprop *b, size_t layer)
{
    const adamoe_plan_space *space = &b->layer[layer].plan;
    const size_t places = space->plan.token_offset[b->tokens];
    backprop_multiply(b, backprop_residual_factor(b), places, 1, space->combine);
    if (space->plan.self_scale != NULL) {
        backprop_multiply(b, backprop_residual_factor(b), b->tokens, 1, space->self_scale);
    }
}

/* Derivatives of those weights become those of the routing's. */
static void weigh_derivatives(const adamoe_backprop *b, size_t layer)
{
    const adamoe_plan *plan = &b->layer[layer].plan.plan;
    backprop_multiply(b, backprop_residual_factor(b), plan->token_offset[b->tokens], 1, b->at.dweight);
    if (plan->self_scale != NULL) {
        backprop_multiply(b, backprop_residual_factor(b), b->tokens, 1, b->at.dself);
    }
}

adamoe_status backprop_experts_forward(adamoe_backprop *b, size_t layer, float *next)
{
    const backprop_layer *l = &b->layer[layer];
    backprop_norm(b, &backprop_block(b, layer)->post_attention_norm, l->experts_input, NULL, b->tokens,
                  b->at.normed);
    ADAMOE_TRY(b->router == NULL ? backprop_route(b, layer) : backprop_route_by_router(b, layer));
    const adamoe_experts_pass pass = pass_of(b, layer);
    if (b->router == NULL) {
        weigh_plan(b, layer);
    }
    adamoe_experts_forward(&pass, l->experts_input, next);
    backprop_shared_forward(b, layer, next);
    return adamoe_ok();
}

adamoe_status backprop_experts_backward(adamoe_backprop *b, size_t layer)
{
    const backprop_layer *l = &b->layer[layer];
    const adamoe_matrix *norm = &backprop_block(b, layer)->post_attention_norm;
    const adamoe_experts_gradient gradient = {
        .expert = (b->trained & ADAMOE_EXPERTS) != 0 ? b->expert_gradient : NULL,
        .dx = b->at.dnormed,
        .dcombine = b->at.dweight,
        .dself = b->at.dself};
    const adamoe_experts_pass pass = pass_of(b, layer);
    backprop_norm(b, norm, l->experts_input, NULL, b->tokens, b->at.normed);
    adamoe_experts_backward(&pass, b->at.dresidual, &gradient);
    if (b->router == NULL) {
        weigh_derivatives(b, layer);
    }
    backprop_shared_backward(b, layer);
    if (b->router != NULL) {
        ADAMOE_TRY(backprop_routed_backward(b, layer));
    } else if (!b->config->architecture.dense) {
        backprop_router_backward(b, layer);
    }
    backprop_norm_backward(b, norm, l->experts_input, NULL, b->tokens, b->at.dnormed);
    return adamoe_ok();
}

/*
 * The router forward and backward, for all tokens of a layer.
 */
#include "train/model/backprop_parts.h"
#include "train/router_backward.h"

#include <string.h>

adamoe_status backprop_route(adamoe_backprop *b, size_t layer)
{
    const adamoe_config *c = b->config;
    backprop_layer *l = &b->layer[layer];
    const size_t all = c->experts + c->null_experts;
    ADAMOE_TRY(adamoe_routing_space_begin(&l->routing, b->tokens, c->experts, c->null_experts, c->rule));
    adamoe_routing *routing = &l->routing.routing;
    if (c->architecture.dense) {
        memset(routing->logits, 0, b->tokens * sizeof(float));
    } else {
        b->gemm[0] = adamoe_gemm_forward(b->at.normed, backprop_block(b, layer)->moe.gate.data, b->tokens,
                                         c->hidden_size, all, routing->logits);
        adamoe_gemm_run(b->gemm_space, b->gemm, 1);
    }
    const adamoe_run run = {.team = b->team};
    ADAMOE_TRY(adamoe_route(&run, routing));
    b->routing[layer] = routing;
    return adamoe_plan_build(b->team, routing, &l->plan);
}

static void router_row(const adamoe_backprop *b, size_t token, const void *argument)
{
    const size_t layer = *(const size_t *)argument, all = b->config->experts + b->config->null_experts;
    const adamoe_plan *plan = &b->layer[layer].plan.plan;
    adamoe_router_token_backward(&b->layer[layer].routing.routing, token,
                                 b->at.dweight + plan->token_offset[token],
                                 plan->self_scale == NULL ? 0.0 : (double)b->at.dself[token],
                                 b->slope + layer * all, b->at.dlogits + token * all);
}

void backprop_router_backward(adamoe_backprop *b, size_t layer)
{
    const size_t d = b->config->hidden_size, all = b->config->experts + b->config->null_experts;
    const adamoe_matrix *gate = &backprop_block(b, layer)->moe.gate;
    float *dgate = backprop_gradient(b, ADAMOE_ROUTER, gate);
    size_t count = 0;
    backprop_each_row(b, b->tokens, router_row, &layer);
    b->gemm[count] = adamoe_gemm_to_input(b->at.dlogits, gate->data, b->tokens, d, all, b->at.dnormed);
    b->gemm[count++].add = true;
    if (dgate != NULL) {
        b->gemm[count++] = adamoe_gemm_to_weight(b->at.dlogits, b->at.normed, b->tokens, d, all, dgate);
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

/*
 * The router forward and backward. The selection is a constant; its weights and probabilities are those that
 * the routing keeps (reference/gradient_router.c computes them again from the logits).
 */
#include "train/backprop_parts.h"

#include <string.h>

adamoe_status backprop_route(adamoe_backprop *b, size_t layer)
{
    const adamoe_config *c = b->config;
    backprop_layer *l = &b->layer[layer];
    const size_t all = c->experts + c->null_experts;
    ADAMOE_TRY(adamoe_routing_space_begin(&l->routing, b->tokens, c->experts, c->null_experts, c->rule));
    adamoe_routing *routing = &l->routing.routing;
    if (c->dense) {
        memset(routing->logits, 0, b->tokens * sizeof(float));
    } else {
        b->gemm[0] = backprop_forward(b->at.normed, backprop_weight(b, b->parameters->block[layer].gate),
                                      b->tokens, c->hidden_size, all, routing->logits);
        adamoe_gemm_run(b->gemm_space, b->gemm, 1);
    }
    const adamoe_run run = {.team = b->team};
    ADAMOE_TRY(adamoe_route(&run, routing));
    b->routing[layer] = routing;
    return adamoe_plan_build(b->team, routing, &l->plan);
}

/* One token's routing, and the derivatives of its weights by their place in the token's list. */
typedef struct token_routing {
    size_t n, all, k;
    adamoe_rule rule;
    const uint32_t *id;         /* [k] */
    const float *weight;        /* [k] */
    const float *probability;   /* [k] of the selected ones */
    const float *probabilities; /* [n + m] */
    const float *dweight;       /* [true experts selected], ascending by expert */
    double dself;
    const double *slope; /* [n + m] */
    float *dlogits;      /* [n + m] */
} token_routing;

/* A token's list is ascending by expert: its place is the number of smaller ids among the true ones. */
static double derivative_of_weight(const token_routing *t, size_t j)
{
    size_t place = 0;
    for (size_t i = 0; i < t->k; ++i) {
        place += t->id[i] < t->id[j];
    }
    return (double)t->dweight[place];
}

/* w = softmax over the experts that it is normalised over: dl_i += w_i (dw_i - sum of w_j dw_j). */
static void weights_backward(const token_routing *t)
{
    double mean = 0.0, selected = 0.0;
    for (size_t j = 0; j < t->k; ++j) {
        selected += (double)t->probability[j];
        if (t->id[j] < t->n) {
            const double part = (double)t->weight[j] * derivative_of_weight(t, j);
            mean += part;
            t->dlogits[t->id[j]] += (float)part;
        }
    }
    for (size_t j = 0; j < t->k && t->rule.norm != ADAMOE_NORM_NONE; ++j) {
        if (t->id[j] < t->n) {
            t->dlogits[t->id[j]] -= (float)((double)t->weight[j] * mean);
        } else if (t->rule.norm == ADAMOE_NORM_ALL) { /* the sum holds the largest p: it is not 0 */
            t->dlogits[t->id[j]] -= (float)((double)t->probability[j] / selected * mean);
        }
    }
    for (size_t i = 0; i < t->all && t->rule.norm == ADAMOE_NORM_NONE; ++i) {
        t->dlogits[i] -= (float)((double)t->probabilities[i] * mean);
    }
}

/* p = softmax over all: dl_i += p_i (dp_i - sum of p_j dp_j), with dp_i = slope_i of the balance loss, and
 * for a selected identity expert the derivative of its weight, which is p_i. */
static void probabilities_backward(const token_routing *t)
{
    const bool identity = t->rule.null_kind == ADAMOE_NULL_IDENTITY;
    double mean = 0.0;
    for (size_t i = 0; i < t->all; ++i) {
        mean += (double)t->probabilities[i] * t->slope[i];
    }
    for (size_t j = 0; j < t->k; ++j) {
        if (identity && t->id[j] >= t->n) {
            mean += (double)t->probability[j] * t->dself;
            t->dlogits[t->id[j]] += (float)((double)t->probability[j] * t->dself);
        }
    }
    for (size_t i = 0; i < t->all; ++i) {
        t->dlogits[i] += (float)((double)t->probabilities[i] * (t->slope[i] - mean));
    }
}

static void router_row(const adamoe_backprop *b, size_t token, const void *argument)
{
    const size_t layer = *(const size_t *)argument;
    const backprop_layer *l = &b->layer[layer];
    const adamoe_routing *routing = &l->routing.routing;
    const size_t all = routing->experts + routing->null_experts, k = routing->rule.top_k;
    const token_routing t = {.n = routing->experts,
                             .all = all,
                             .k = k,
                             .rule = routing->rule,
                             .id = routing->id + token * k,
                             .weight = routing->weight + token * k,
                             .probability = routing->probability + token * k,
                             .probabilities = routing->probabilities + token * all,
                             .dweight = b->at.dweight + l->plan.plan.token_offset[token],
                             .dself = l->plan.plan.self_scale == NULL ? 0.0 : (double)b->at.dself[token],
                             .slope = b->slope + layer * all,
                             .dlogits = b->at.dlogits + token * all};
    memset(t.dlogits, 0, all * sizeof *t.dlogits);
    weights_backward(&t);
    probabilities_backward(&t);
}

void backprop_router_backward(adamoe_backprop *b, size_t layer)
{
    const size_t d = b->config->hidden_size, all = b->config->experts + b->config->null_experts;
    const size_t gate = b->parameters->block[layer].gate;
    float *dgate = backprop_gradient(b, ADAMOE_ROUTER, gate);
    size_t count = 0;
    backprop_each_row(b, b->tokens, router_row, &layer);
    b->gemm[count] =
        backprop_to_input(b->at.dlogits, backprop_weight(b, gate), b->tokens, d, all, b->at.dnormed);
    b->gemm[count++].add = true;
    if (dgate != NULL) {
        b->gemm[count++] = backprop_to_weight(b->at.dlogits, b->at.normed, b->tokens, d, all, dgate);
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

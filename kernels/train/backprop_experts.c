/*
 * The experts forward and backward, in products grouped by expert over the rows of the plan. A zero null
 * expert has no row: neither its value nor its gradient is computed.
 *
 * With g = w1 x, u = w3 x, h = silu(g) * u, and y[t] += c w2 h for a row of token t with weight c:
 *   dh = c w2^T dy[t],  dw2 = sum over rows of dy[t] (c h)^T,  dc = h . (w2^T dy[t]).
 */
#include "train/backprop_parts.h"

#include <string.h>

/* The rows of one expert, and where its weights begin in the array. */
typedef struct expert_rows {
    size_t first, rows;
    const uint32_t *token;
    size_t w1, w3, w2;
} expert_rows;

static expert_rows rows_of(const adamoe_backprop *b, size_t layer, size_t expert)
{
    const adamoe_plan *plan = &b->layer[layer].plan.plan;
    const size_t matrix = b->config->hidden_size * b->config->intermediate_size;
    const size_t w1 = b->parameters->block[layer].experts + expert * adamoe_expert_floats(b->config);
    const size_t first = plan->offset[expert];
    return (expert_rows){
        first, plan->offset[expert + 1] - first, plan->input + first, w1, w1 + matrix, w1 + 2 * matrix};
}

static void up_products(adamoe_backprop *b, size_t layer)
{
    const backprop_layer *l = &b->layer[layer];
    const size_t d = b->config->hidden_size, ff = b->config->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < b->config->experts; ++e) {
        const expert_rows r = rows_of(b, layer, e);
        adamoe_gemm gate =
            backprop_forward(b->at.normed, backprop_weight(b, r.w1), r.rows, d, ff, l->gate + r.first * ff);
        adamoe_gemm up =
            backprop_forward(b->at.normed, backprop_weight(b, r.w3), r.rows, d, ff, l->up + r.first * ff);
        gate.a.list = up.a.list = r.token;
        b->gemm[count++] = gate;
        b->gemm[count++] = up;
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

static void gate_row(const adamoe_backprop *b, size_t row, const void *argument)
{
    const backprop_layer *l = argument;
    const size_t ff = b->config->intermediate_size;
    b->train_ops->gate(l->gate + row * ff, l->up + row * ff, ff, b->at.hidden + row * ff);
}

static void down_products(adamoe_backprop *b, size_t layer)
{
    const size_t d = b->config->hidden_size, ff = b->config->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < b->config->experts; ++e) {
        const expert_rows r = rows_of(b, layer, e);
        b->gemm[count++] = backprop_forward(b->at.hidden + r.first * ff, backprop_weight(b, r.w2), r.rows, ff,
                                            d, b->at.slots + r.first * d);
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

typedef struct combination {
    const backprop_layer *layer;
    float *out;
} combination;

/* out = experts_input + sum over the token's rows of weight * slot + self_scale * normed. */
static void combine_row(const adamoe_backprop *b, size_t t, const void *argument)
{
    const combination *c = argument;
    const adamoe_plan *plan = &c->layer->plan.plan;
    const size_t d = b->config->hidden_size;
    float *out = c->out + t * d;
    memcpy(out, c->layer->experts_input + t * d, d * sizeof *out);
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        b->train_ops->add_scaled(out, plan->combine[i], b->at.slots + plan->token_row[i] * d, d);
    }
    if (plan->self_scale != NULL) {
        b->train_ops->add_scaled(out, plan->self_scale[t], b->at.normed + t * d, d);
    }
}

adamoe_status backprop_experts_forward(adamoe_backprop *b, size_t layer, float *next)
{
    const backprop_layer *l = &b->layer[layer];
    backprop_norm(b, b->parameters->block[layer].post_attention_norm, l->experts_input, NULL, b->tokens,
                  b->at.normed);
    ADAMOE_TRY(backprop_route(b, layer));
    up_products(b, layer);
    backprop_each_row(b, l->plan.plan.rows, gate_row, l);
    down_products(b, layer);
    backprop_each_row(b, b->tokens, combine_row, &(combination){l, next});
    return adamoe_ok();
}

/* dhidden = w2^T dy, not yet times the row's weight. */
static void to_hidden(adamoe_backprop *b, size_t layer)
{
    const size_t d = b->config->hidden_size, ff = b->config->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < b->config->experts; ++e) {
        const expert_rows r = rows_of(b, layer, e);
        b->gemm[count] = backprop_to_input(b->at.dresidual, backprop_weight(b, r.w2), r.rows, ff, d,
                                           b->at.dhidden + r.first * ff);
        b->gemm[count++].a.list = r.token;
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

/* gate, up and hidden become dg, du and c h; the derivatives of the weights; all by token, whose places know
 * the weights. */
static void token_backward(const adamoe_backprop *b, size_t t, const void *argument)
{
    const backprop_layer *l = argument;
    const adamoe_plan *plan = &l->plan.plan;
    const size_t d = b->config->hidden_size, ff = b->config->intermediate_size;
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        const size_t row = plan->token_row[i];
        float *hidden = b->at.hidden + row * ff;
        b->train_ops->gate(l->gate + row * ff, l->up + row * ff, ff, hidden);
        b->at.dweight[i] = b->train_ops->gate_backward(plan->combine[i], b->at.dhidden + row * ff, ff,
                                                       l->gate + row * ff, l->up + row * ff, hidden);
    }
    if (plan->self_scale != NULL) {
        b->at.dself[t] = b->ops->dot(b->at.dresidual + t * d, b->at.normed + t * d, d);
    }
}

static void weight_products(adamoe_backprop *b, size_t layer)
{
    const backprop_layer *l = &b->layer[layer];
    const size_t d = b->config->hidden_size, ff = b->config->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < b->config->experts; ++e) {
        const expert_rows r = rows_of(b, layer, e);
        float *const dw1 = backprop_gradient(b, ADAMOE_EXPERTS, r.w1);
        if (dw1 == NULL) {
            return;
        }
        adamoe_gemm w1 = backprop_to_weight(l->gate + r.first * ff, b->at.normed, r.rows, d, ff, dw1);
        adamoe_gemm w3 = backprop_to_weight(l->up + r.first * ff, b->at.normed, r.rows, d, ff,
                                            backprop_gradient(b, ADAMOE_EXPERTS, r.w3));
        adamoe_gemm w2 = backprop_to_weight(b->at.dresidual, b->at.hidden + r.first * ff, r.rows, ff, d,
                                            backprop_gradient(b, ADAMOE_EXPERTS, r.w2));
        w1.b.list = w3.b.list = w2.a.list = r.token;
        b->gemm[count++] = w1;
        b->gemm[count++] = w3;
        b->gemm[count++] = w2;
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

/* slots = w1^T dg, then += w3^T du. */
static void to_input(adamoe_backprop *b, size_t layer)
{
    const backprop_layer *l = &b->layer[layer];
    const size_t d = b->config->hidden_size, ff = b->config->intermediate_size;
    for (size_t half = 0; half < 2; ++half) {
        const float *dy = half == 0 ? l->gate : l->up;
        size_t count = 0;
        for (size_t e = 0; e < b->config->experts; ++e) {
            const expert_rows r = rows_of(b, layer, e);
            const float *w = backprop_weight(b, half == 0 ? r.w1 : r.w3);
            b->gemm[count] =
                backprop_to_input(dy + r.first * ff, w, r.rows, d, ff, b->at.slots + r.first * d);
            b->gemm[count++].add = half == 1;
        }
        adamoe_gemm_run(b->gemm_space, b->gemm, count);
    }
}

/* dnormed = the sum of a token's rows, and what flows through identity experts. */
static void gather_row(const adamoe_backprop *b, size_t t, const void *argument)
{
    const backprop_layer *l = argument;
    const adamoe_plan *plan = &l->plan.plan;
    const size_t d = b->config->hidden_size;
    float *dnormed = b->at.dnormed + t * d;
    memset(dnormed, 0, d * sizeof *dnormed);
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        b->ops->add(dnormed, b->at.slots + plan->token_row[i] * d, d);
    }
    if (plan->self_scale != NULL) {
        b->train_ops->add_scaled(dnormed, plan->self_scale[t], b->at.dresidual + t * d, d);
    }
}

void backprop_experts_backward(adamoe_backprop *b, size_t layer)
{
    const backprop_layer *l = &b->layer[layer];
    const size_t norm = b->parameters->block[layer].post_attention_norm;
    backprop_norm(b, norm, l->experts_input, NULL, b->tokens, b->at.normed);
    to_hidden(b, layer);
    backprop_each_row(b, b->tokens, token_backward, l);
    weight_products(b, layer);
    to_input(b, layer);
    backprop_each_row(b, b->tokens, gather_row, l);
    if (!b->config->dense) {
        backprop_router_backward(b, layer);
    }
    backprop_norm_backward(b, norm, l->experts_input, NULL, b->tokens, b->at.dnormed);
}

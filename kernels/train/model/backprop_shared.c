/*
 * The shared expert forward and backward: train/experts.h with one expert, of which every token is a row, weighted by
 * sigmoid(shared_gate . x).
 */
#include "train/model/backprop_parts.h"

#include <math.h>

/* The plan and the pass of a layer's shared expert; the arrays that they point to. */
typedef struct shared_pass {
    uint32_t offset[2];
    adamoe_plan plan;
    adamoe_float_expert expert;
    adamoe_float_expert_gradient expert_gradient;
    adamoe_experts_pass pass;
} shared_pass;

static void begin(adamoe_backprop *b, size_t layer, shared_pass *s)
{
    const adamoe_expert *w = &backprop_block(b, layer)->shared;
    const backprop_layer *l = &b->layer[layer];
    const uint32_t *identity = b->at.identity;
    s->offset[0] = 0;
    s->offset[1] = (uint32_t)b->tokens;
    s->plan = (adamoe_plan){.tokens = b->tokens,
                            .inputs = b->tokens,
                            .rows = b->tokens,
                            .experts = 1,
                            .offset = s->offset,
                            .input = identity,
                            .token_offset = identity,
                            .token_row = identity,
                            .combine = l->shared_scale};
    s->expert = (adamoe_float_expert){w->w1.data, w->w3.data, w->w2.data};
    s->expert_gradient = (adamoe_float_expert_gradient){backprop_gradient(b, ADAMOE_SHARED_EXPERT, &w->w1),
                                                        backprop_gradient(b, ADAMOE_SHARED_EXPERT, &w->w3),
                                                        backprop_gradient(b, ADAMOE_SHARED_EXPERT, &w->w2)};
    s->pass = (adamoe_experts_pass){.hidden_size = b->config->hidden_size,
                                    .intermediate_size = b->config->shared_intermediate_size,
                                    .team = b->team,
                                    .ops = b->ops,
                                    .train_ops = b->train_ops,
                                    .gemm_space = b->gemm_space,
                                    .gemm = b->gemm,
                                    .expert = &s->expert,
                                    .plan = &s->plan,
                                    .x = b->at.normed,
                                    .gate = l->shared_gate,
                                    .up = l->shared_up,
                                    .hidden = b->at.hidden,
                                    .dhidden = b->at.dhidden,
                                    .slots = b->at.slots};
}

static void scale_row(const adamoe_backprop *b, size_t row, const void *argument)
{
    const size_t layer = *(const size_t *)argument, d = b->config->hidden_size;
    const float *gate = backprop_block(b, layer)->shared_gate.data;
    const double logit = (double)b->ops->dot(b->at.normed + row * d, gate, d);
    b->layer[layer].shared_scale[row] = backprop_residual_factor(b) * (float)(1.0 / (1.0 + exp(-logit)));
    b->at.identity[row] = (uint32_t)row;
}

void backprop_shared_forward(adamoe_backprop *b, size_t layer, float *next)
{
    shared_pass s;
    if (!b->config->architecture.shared_expert) {
        return;
    }
    backprop_each_row(b, b->tokens, scale_row, &layer);
    b->at.identity[b->tokens] = (uint32_t)b->tokens;
    begin(b, layer, &s);
    adamoe_experts_forward(&s.pass, next, next);
}

/* The derivative of a token's weight, which is factor * s, becomes that of the logit: dlogit = dweight factor
 * s (1 - s). */
static void logit_row(const adamoe_backprop *b, size_t row, const void *argument)
{
    const size_t layer = *(const size_t *)argument, d = b->config->hidden_size;
    const double weight = (double)b->layer[layer].shared_scale[row];
    const double gate = weight / (double)backprop_residual_factor(b);
    b->at.dshared_scale[row] = (float)((double)b->at.dshared_scale[row] * weight * (1.0 - gate));
    b->ops->add(b->at.dnormed + row * d, b->at.dshared + row * d, d);
}

void backprop_shared_backward(adamoe_backprop *b, size_t layer)
{
    const size_t d = b->config->hidden_size;
    shared_pass s;
    if (!b->config->architecture.shared_expert) {
        return;
    }
    begin(b, layer, &s);
    const adamoe_experts_gradient gradient = {
        .expert = (b->trained & ADAMOE_SHARED_EXPERT) != 0 ? &s.expert_gradient : NULL,
        .dx = b->at.dshared,
        .dcombine = b->at.dshared_scale};
    adamoe_experts_backward(&s.pass, b->at.dresidual, &gradient);
    backprop_each_row(b, b->tokens, logit_row, &layer);
    const adamoe_matrix *gate = &backprop_block(b, layer)->shared_gate;
    float *dgate = backprop_gradient(b, ADAMOE_SHARED_EXPERT, gate);
    size_t count = 0;
    b->gemm[count] = adamoe_gemm_to_input(b->at.dshared_scale, gate->data, b->tokens, d, 1, b->at.dnormed);
    b->gemm[count++].add = true;
    if (dgate != NULL) {
        b->gemm[count++] = adamoe_gemm_to_weight(b->at.dshared_scale, b->at.normed, b->tokens, d, 1, dgate);
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

/*
 * Attention forward and backward: projections, rotary embedding, and the mixing of values in between.
 */
#include "model/span_attention.h"
#include "train/attention_backward.h"
#include "train/model/backprop_parts.h"

#include <string.h>

static size_t query_width(const adamoe_backprop *b)
{
    return b->config->heads * b->config->head_dim;
}

static size_t key_width(const adamoe_backprop *b)
{
    return b->config->key_value_heads * b->config->head_dim;
}

/* `sine` is that of +angle on the way forward, of -angle back: the transpose of a rotation. */
static void rotate(const adamoe_backprop *b, const float *sine, float *query, float *key)
{
    const adamoe_config *c = b->config;
    const adamoe_rotary rotary = {b->ops,       c->heads, c->key_value_heads, c->head_dim,
                                  b->at.cosine, sine,     b->at.position};
    adamoe_rotate_rows(b->team, &rotary, b->tokens, query, key);
}

/* Biases, norms, limits, rotation, and the multiplier of queries. */
static void finish_projection(const adamoe_backprop *b, const adamoe_attention *w, const backprop_layer *l)
{
    backprop_add_bias(b, &w->q_bias, l->raw_query);
    backprop_add_bias(b, &w->k_bias, l->raw_key);
    backprop_add_bias(b, &w->v_bias, l->value);
    backprop_head_norm(b, &w->q_norm, l->raw_query, query_width(b), l->query);
    backprop_head_norm(b, &w->k_norm, l->raw_key, key_width(b), l->key);
    backprop_cut(b, query_width(b), l->query, l->query_cut);
    backprop_cut(b, key_width(b), l->key, l->key_cut);
    backprop_cut(b, key_width(b), l->value, l->value_cut);
    rotate(b, b->at.sine, l->query, l->key);
    backprop_multiply(b, (float)adamoe_query_multiplier(b->config), b->tokens, query_width(b), l->query);
}

/* The way back through it: dquery, dkey and dvalue become derivatives of the products. */
static void finish_projection_backward(const adamoe_backprop *b, const adamoe_attention *w,
                                       const backprop_layer *l)
{
    backprop_multiply(b, (float)adamoe_query_multiplier(b->config), b->tokens, query_width(b), b->at.dquery);
    rotate(b, b->at.minus_sine, b->at.dquery, b->at.dkey);
    backprop_cut_backward(b, query_width(b), l->query_cut, b->at.dquery);
    backprop_cut_backward(b, key_width(b), l->key_cut, b->at.dkey);
    backprop_cut_backward(b, key_width(b), l->value_cut, b->at.dvalue);
    backprop_head_norm_backward(b, &w->q_norm, l->raw_query, query_width(b), b->at.dquery);
    backprop_head_norm_backward(b, &w->k_norm, l->raw_key, key_width(b), b->at.dkey);
    backprop_bias_backward(b, b->at.dquery, query_width(b), backprop_gradient(b, ADAMOE_BIASES, &w->q_bias));
    backprop_bias_backward(b, b->at.dkey, key_width(b), backprop_gradient(b, ADAMOE_BIASES, &w->k_bias));
    backprop_bias_backward(b, b->at.dvalue, key_width(b), backprop_gradient(b, ADAMOE_BIASES, &w->v_bias));
}

typedef struct output_bias_call {
    const float *bias;
    float factor;
    size_t columns;
    float *x;
} output_bias_call;

static void output_bias_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const output_bias_call *call = context;
    for (size_t c = 0; c < call->columns; ++c) {
        call->x[row * call->columns + c] += call->factor * call->bias[c];
    }
}

/* x += the bias of o, times the residual multiplier, which the mixed values have before o. */
static void add_output_bias(const adamoe_backprop *b, const adamoe_matrix *bias, float *x)
{
    if (bias->data != NULL) {
        adamoe_each_row(b->team, b->tokens, output_bias_row,
                        &(output_bias_call){bias->data, backprop_residual_factor(b), bias->columns, x});
    }
}

adamoe_status backprop_attention_forward(adamoe_backprop *b, size_t layer)
{
    const adamoe_attention *w = &backprop_block(b, layer)->attention;
    const backprop_layer *l = &b->layer[layer];
    const size_t t = b->tokens, d = b->config->hidden_size, q = query_width(b), kv = key_width(b);
    backprop_norm(b, &backprop_block(b, layer)->input_norm, l->attention_input, NULL, t, b->at.normed);
    b->gemm[0] = adamoe_gemm_forward(b->at.normed, w->q.data, t, d, q, l->raw_query);
    b->gemm[1] = adamoe_gemm_forward(b->at.normed, w->k.data, t, d, kv, l->raw_key);
    b->gemm[2] = adamoe_gemm_forward(b->at.normed, w->v.data, t, d, kv, l->value);
    adamoe_gemm_run(b->gemm_space, b->gemm, 3);
    finish_projection(b, w, l);

    b->call.query = l->query;
    b->call.key = l->key;
    b->call.value = l->value;
    b->call.mixed = l->mixed;
    const adamoe_run run = {.team = b->team, .work = b->at.work, .work_bytes = b->work_bytes};
    ADAMOE_TRY(adamoe_span_attention(&run, &b->call));

    backprop_multiply(b, backprop_residual_factor(b), t, q, l->mixed);
    memcpy(l->experts_input, l->attention_input, t * d * sizeof(float));
    b->gemm[0] = adamoe_gemm_forward(l->mixed, w->o.data, t, q, d, l->experts_input);
    b->gemm[0].add = true;
    adamoe_gemm_run(b->gemm_space, b->gemm, 1);
    add_output_bias(b, &w->o_bias, l->experts_input);
    return adamoe_ok();
}

/* dquery, dkey and dvalue from dmixed. */
static void heads_backward(const adamoe_backprop *b, const backprop_layer *l)
{
    const adamoe_config *c = b->config;
    const adamoe_attention_backward_call call = {.ops = b->ops,
                                                 .train_ops = b->train_ops,
                                                 .heads = c->heads,
                                                 .key_value_heads = c->key_value_heads,
                                                 .head_dim = c->head_dim,
                                                 .window = c->sliding_window,
                                                 .sequences = b->batch->sequences,
                                                 .offset = b->batch->offset,
                                                 .longest = b->longest,
                                                 .number = b->at.number,
                                                 .shares = b->at.shares,
                                                 .query = l->query,
                                                 .key = l->key,
                                                 .value = l->value,
                                                 .dmixed = b->at.dmixed,
                                                 .dquery = b->at.dquery,
                                                 .dkey = b->at.dkey,
                                                 .dvalue = b->at.dvalue};
    adamoe_attention_heads_backward(b->team, &call);
}

/* dmixed and the gradients of o and of its bias, from dresidual. */
static void output_backward(adamoe_backprop *b, size_t layer)
{
    const adamoe_attention *w = &backprop_block(b, layer)->attention;
    const size_t t = b->tokens, d = b->config->hidden_size, q = query_width(b);
    float *dw = backprop_gradient(b, ADAMOE_ATTENTION, &w->o);
    float *dbias = backprop_gradient(b, ADAMOE_BIASES, &w->o_bias);
    size_t count = 0;
    b->gemm[count++] = adamoe_gemm_to_input(b->at.dresidual, w->o.data, t, q, d, b->at.dmixed);
    if (dw != NULL) {
        b->gemm[count++] = adamoe_gemm_to_weight(b->at.dresidual, b->layer[layer].mixed, t, q, d, dw);
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
    backprop_multiply(b, backprop_residual_factor(b), t, q, b->at.dmixed);
    backprop_bias_backward(b, b->at.dresidual, d, dbias);
    if (dbias != NULL) {
        backprop_multiply(b, backprop_residual_factor(b), 1, d, dbias);
    }
}

/* dnormed and the gradients of q, k and v. */
static void input_backward(adamoe_backprop *b, size_t layer)
{
    const adamoe_attention *w = &backprop_block(b, layer)->attention;
    const size_t t = b->tokens, d = b->config->hidden_size;
    const adamoe_matrix *const weight[] = {&w->q, &w->k, &w->v};
    const size_t width[] = {query_width(b), key_width(b), key_width(b)};
    const float *const dy[] = {b->at.dquery, b->at.dkey, b->at.dvalue};
    for (size_t i = 0; i < 3; ++i) { /* one after the other: all three add to dnormed */
        float *dw = backprop_gradient(b, ADAMOE_ATTENTION, weight[i]);
        size_t count = 0;
        b->gemm[count] = adamoe_gemm_to_input(dy[i], weight[i]->data, t, d, width[i], b->at.dnormed);
        b->gemm[count++].add = i > 0;
        if (dw != NULL) {
            b->gemm[count++] = adamoe_gemm_to_weight(dy[i], b->at.normed, t, d, width[i], dw);
        }
        adamoe_gemm_run(b->gemm_space, b->gemm, count);
    }
}

void backprop_attention_backward(adamoe_backprop *b, size_t layer)
{
    const backprop_layer *l = &b->layer[layer];
    const adamoe_matrix *norm = &backprop_block(b, layer)->input_norm;
    output_backward(b, layer);
    heads_backward(b, l);
    finish_projection_backward(b, &backprop_block(b, layer)->attention, l);
    backprop_norm(b, norm, l->attention_input, NULL, b->tokens, b->at.normed);
    input_backward(b, layer);
    backprop_norm_backward(b, norm, l->attention_input, NULL, b->tokens, b->at.dnormed);
}

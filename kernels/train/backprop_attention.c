/*
 * Attention forward and backward: projections, rotary embedding, and the mixing of values in between. The way
 * back computes the shares of a query again. A task of it is one key-value head of one sequence, with all
 * query heads that use it, so that the gradients of keys and values are summed by one thread in one order.
 */
#include "attention.h"
#include "span_attention.h"
#include "train/backprop_parts.h"

#include <math.h>
#include <string.h>

static size_t query_width(const adamoe_backprop *b)
{
    return b->config->heads * b->config->head_dim;
}

static size_t key_width(const adamoe_backprop *b)
{
    return b->config->key_value_heads * b->config->head_dim;
}

typedef struct rotation {
    float *query, *key;
    const float *sine; /* of +angle on the way forward, of -angle back: the transpose of a rotation */
} rotation;

static void rotate_row(const adamoe_backprop *b, size_t row, const void *argument)
{
    const rotation *r = argument;
    const size_t hd = b->config->head_dim, half = hd / 2, angle = b->at.position[row] * half;
    for (size_t h = 0; h < b->config->heads; ++h) {
        b->ops->rotate(r->query + row * query_width(b) + h * hd, b->at.cosine + angle, r->sine + angle, half);
    }
    for (size_t h = 0; h < b->config->key_value_heads; ++h) {
        b->ops->rotate(r->key + row * key_width(b) + h * hd, b->at.cosine + angle, r->sine + angle, half);
    }
}

adamoe_status backprop_attention_forward(adamoe_backprop *b, size_t layer)
{
    const adamoe_parameter_block *w = &b->parameters->block[layer];
    const backprop_layer *l = &b->layer[layer];
    const size_t t = b->tokens, d = b->config->hidden_size, q = query_width(b), kv = key_width(b);
    backprop_norm(b, w->input_norm, l->attention_input, NULL, t, b->at.normed);
    b->gemm[0] = backprop_forward(b->at.normed, backprop_weight(b, w->q), t, d, q, l->query);
    b->gemm[1] = backprop_forward(b->at.normed, backprop_weight(b, w->k), t, d, kv, l->key);
    b->gemm[2] = backprop_forward(b->at.normed, backprop_weight(b, w->v), t, d, kv, l->value);
    adamoe_gemm_run(b->gemm_space, b->gemm, 3);
    backprop_each_row(b, t, rotate_row, &(rotation){l->query, l->key, b->at.sine});

    b->call.query = l->query;
    b->call.key = l->key;
    b->call.value = l->value;
    b->call.mixed = l->mixed;
    const adamoe_run run = {.team = b->team, .work = b->at.work, .work_bytes = b->work_bytes};
    ADAMOE_TRY(adamoe_span_attention(&run, &b->call));

    memcpy(l->experts_input, l->attention_input, t * d * sizeof(float));
    b->gemm[0] = backprop_forward(l->mixed, backprop_weight(b, w->o), t, q, d, l->experts_input);
    b->gemm[0].add = true;
    adamoe_gemm_run(b->gemm_space, b->gemm, 1);
    return adamoe_ok();
}

/* One query head at one position, whose sequence begins at row `start`:
 *   a = softmax(s), s_j = q . k_j / sqrt(head_dim), mixed = sum over j of a_j v_j. */
static void head_backward(const adamoe_backprop *b, const backprop_layer *l, size_t start, size_t position,
                          size_t head, size_t key_head, float *share, float *dshare)
{
    const size_t hd = b->config->head_dim, kv = key_width(b), row = start + position;
    const size_t first = adamoe_first_visible(position, b->config->sliding_window);
    const size_t count = position + 1 - first, at = row * query_width(b) + head * hd;
    const size_t key = (start + first) * kv + key_head * hd;
    const adamoe_listed_rows keys = {l->key + key_head * hd, b->at.number, kv};
    const adamoe_listed_rows values = {l->value + key_head * hd, b->at.number, kv};
    const float scale = (float)(1.0 / sqrt((double)hd));
    b->ops->scores(l->query + at, &keys, start + first, count, hd, scale, share);
    b->ops->softmax(share, count, share);
    b->ops->scores(b->at.dmixed + at, &values, start + first, count, hd, 1.0f, dshare);
    b->train_ops->softmax_backward(share, scale, count, dshare);
    b->ops->mix(dshare, &keys, start + first, count, hd, b->at.dquery + at);
    b->train_ops->add_outer(dshare, l->query + at, hd, b->at.dkey + key, kv, count);
    b->train_ops->add_outer(share, b->at.dmixed + at, hd, b->at.dvalue + key, kv, count);
}

/* The first query head h with floor(h * key_value_heads / heads) >= g. */
static size_t first_head_of(const adamoe_config *config, size_t g)
{
    return (g * config->heads + config->key_value_heads - 1) / config->key_value_heads;
}

typedef struct mixing {
    const adamoe_backprop *b;
    const backprop_layer *layer;
} mixing;

static void mixing_task(void *context, size_t i, uint32_t thread)
{
    const mixing *m = context;
    const adamoe_backprop *b = m->b;
    const size_t heads = b->config->key_value_heads, hd = b->config->head_dim;
    const size_t sequence = i / heads, key_head = i % heads;
    const size_t first = first_head_of(b->config, key_head), end = first_head_of(b->config, key_head + 1);
    const size_t start = b->batch->offset[sequence], stop = b->batch->offset[sequence + 1];
    float *share = b->at.shares + thread * 2 * b->longest, *dshare = share + b->longest;
    for (size_t row = start; row < stop; ++row) {
        memset(b->at.dkey + row * key_width(b) + key_head * hd, 0, hd * sizeof(float));
        memset(b->at.dvalue + row * key_width(b) + key_head * hd, 0, hd * sizeof(float));
        memset(b->at.dquery + row * query_width(b) + first * hd, 0, (end - first) * hd * sizeof(float));
        for (size_t h = first; h < end; ++h) {
            head_backward(b, m->layer, start, row - start, h, key_head, share, dshare);
        }
    }
}

/* dmixed and the gradient of o, from dresidual. */
static void output_backward(adamoe_backprop *b, size_t layer)
{
    const adamoe_parameter_block *w = &b->parameters->block[layer];
    const size_t t = b->tokens, d = b->config->hidden_size, q = query_width(b);
    float *dw = backprop_gradient(b, ADAMOE_ATTENTION, w->o);
    size_t count = 0;
    b->gemm[count++] = backprop_to_input(b->at.dresidual, backprop_weight(b, w->o), t, q, d, b->at.dmixed);
    if (dw != NULL) {
        b->gemm[count++] = backprop_to_weight(b->at.dresidual, b->layer[layer].mixed, t, q, d, dw);
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, count);
}

/* dnormed and the gradients of q, k and v. */
static void input_backward(adamoe_backprop *b, size_t layer)
{
    const adamoe_parameter_block *w = &b->parameters->block[layer];
    const size_t t = b->tokens, d = b->config->hidden_size;
    const size_t first[] = {w->q, w->k, w->v}, width[] = {query_width(b), key_width(b), key_width(b)};
    const float *const dy[] = {b->at.dquery, b->at.dkey, b->at.dvalue};
    for (size_t i = 0; i < 3; ++i) { /* one after the other: all three add to dnormed */
        float *dw = backprop_gradient(b, ADAMOE_ATTENTION, first[i]);
        size_t count = 0;
        b->gemm[count] =
            backprop_to_input(dy[i], backprop_weight(b, first[i]), t, d, width[i], b->at.dnormed);
        b->gemm[count++].add = i > 0;
        if (dw != NULL) {
            b->gemm[count++] = backprop_to_weight(dy[i], b->at.normed, t, d, width[i], dw);
        }
        adamoe_gemm_run(b->gemm_space, b->gemm, count);
    }
}

void backprop_attention_backward(adamoe_backprop *b, size_t layer)
{
    const backprop_layer *l = &b->layer[layer];
    const size_t norm = b->parameters->block[layer].input_norm;
    mixing m = {b, l};
    output_backward(b, layer);
    b->team->run(b->team->state, b->batch->sequences * b->config->key_value_heads, mixing_task, &m);
    backprop_each_row(b, b->tokens, rotate_row, &(rotation){b->at.dquery, b->at.dkey, b->at.minus_sine});
    backprop_norm(b, norm, l->attention_input, NULL, b->tokens, b->at.normed);
    input_backward(b, layer);
    backprop_norm_backward(b, norm, l->attention_input, NULL, b->tokens, b->at.dnormed);
}

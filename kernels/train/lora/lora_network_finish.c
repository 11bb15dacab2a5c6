/*
 * What a base has behind its maps q, k, v and o, frozen: biases, and norms of queries and keys.
 */
#include "train/lora/lora_network_parts.h"
#include "train/norm_backward.h"

#include <stdlib.h>
#include <string.h>

/* The vectors of one layer as floats, one behind the other; NULL where the base has none. */
static float *take(const adamoe_matrix *vector, float *at, float **out)
{
    *out = NULL;
    if (vector->data == NULL) {
        return at;
    }
    adamoe_widen_row(vector, 0, at);
    *out = at;
    return at + vector->columns;
}

adamoe_status network_take_vectors(adamoe_lora_network *n)
{
    const adamoe_config *c = n->config;
    const size_t q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    n->vectors = calloc(c->layers + 1, sizeof *n->vectors); /* + 1: calloc(0) may give NULL */
    n->vector_values = calloc(c->layers * (2 * q + 3 * kv + c->hidden_size) + 1, sizeof *n->vector_values);
    if (n->vectors == NULL || n->vector_values == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA network: out of memory");
    }
    float *at = n->vector_values;
    for (size_t layer = 0; layer < c->layers; ++layer) {
        const adamoe_attention *w = &n->base->block[layer].attention;
        network_vectors *v = &n->vectors[layer];
        at = take(&w->q_bias, at, &v->q_bias);
        at = take(&w->k_bias, at, &v->k_bias);
        at = take(&w->v_bias, at, &v->v_bias);
        at = take(&w->o_bias, at, &v->o_bias);
        at = take(&w->q_norm, at, &v->q_norm);
        at = take(&w->k_norm, at, &v->k_norm);
    }
    return adamoe_ok();
}

typedef struct bias_call {
    const float *bias;
    size_t columns;
    float *x;
} bias_call;

static void bias_row(const adamoe_lora_network *n, size_t row, uint32_t thread, void *argument)
{
    (void)thread;
    const bias_call *call = argument;
    n->ops->add(call->x + row * call->columns, call->bias, call->columns);
}

static void add_bias(const adamoe_lora_network *n, const float *bias, size_t columns, float *x)
{
    if (bias != NULL) {
        network_each_row(n, n->tokens, bias_row, &(bias_call){bias, columns, x});
    }
}

/* How wide one norm is: a head, or all of them. */
static size_t norm_width(const adamoe_lora_network *n, size_t width)
{
    return n->config->architecture.query_key_norm == ADAMOE_QUERY_KEY_NORM_WIDTH ? width
                                                                                 : n->config->head_dim;
}

static adamoe_row_norm norm_of(const adamoe_lora_network *n, const float *gain, size_t width)
{
    return (adamoe_row_norm){
        .ops = n->ops, .hidden_size = norm_width(n, width), .eps = n->config->rms_norm_eps, .gain = gain};
}

static void norm_heads(const adamoe_lora_network *n, const float *gain, const float *raw, size_t width,
                       float *out)
{
    if (gain != NULL) {
        const adamoe_row_norm norm = norm_of(n, gain, width);
        adamoe_norm_rows(n->with.team, &norm, raw, NULL, n->tokens * (width / norm.hidden_size), out);
    }
}

static void norm_heads_backward(const adamoe_lora_network *n, const float *gain, const float *raw,
                                size_t width, float *dout)
{
    if (gain == NULL) {
        return;
    }
    const adamoe_row_norm norm = norm_of(n, gain, width);
    const adamoe_norm_backward_call call = {.norm = &norm,
                                            .train_ops = n->train_ops,
                                            .x = raw,
                                            .rows = n->tokens * (width / norm.hidden_size),
                                            .dnormed = dout,
                                            .dx = n->at.draw};
    memset(n->at.draw, 0, n->tokens * width * sizeof *n->at.draw);
    adamoe_norm_backward(n->with.team, &call);
    memcpy(dout, n->at.draw, n->tokens * width * sizeof *dout);
}

void network_finish_inputs(const adamoe_lora_network *n, size_t layer, const network_layer *l)
{
    const adamoe_config *c = n->config;
    const network_vectors *v = &n->vectors[layer];
    const size_t q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    add_bias(n, v->q_bias, q, l->raw_query);
    add_bias(n, v->k_bias, kv, l->raw_key);
    add_bias(n, v->v_bias, kv, l->value);
    norm_heads(n, v->q_norm, l->raw_query, q, l->query);
    norm_heads(n, v->k_norm, l->raw_key, kv, l->key);
}

void network_finish_inputs_backward(const adamoe_lora_network *n, size_t layer, const network_layer *l)
{
    const adamoe_config *c = n->config;
    const network_vectors *v = &n->vectors[layer];
    norm_heads_backward(n, v->q_norm, l->raw_query, c->heads * c->head_dim, n->at.dquery);
    norm_heads_backward(n, v->k_norm, l->raw_key, c->key_value_heads * c->head_dim, n->at.dkey);
}

void network_finish_output(const adamoe_lora_network *n, size_t layer, float *update)
{
    add_bias(n, n->vectors[layer].o_bias, n->config->hidden_size, update);
}

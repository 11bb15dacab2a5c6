/*
 * Attention of the network: maps q, k, v and o, what the base has behind them, and the mixing of values in between.
 */
#include "model/span_attention.h"
#include "train/attention_backward.h"
#include "train/lora/lora_network_parts.h"

/* `sine` is that of +angle on the way forward, of -angle back: the transpose of a rotation. */
static void rotate(const adamoe_lora_network *n, const float *sine, float *query, float *key)
{
    const adamoe_config *c = n->config;
    const adamoe_rotary rotary = {n->ops,       c->heads, c->key_value_heads, c->head_dim,
                                  n->at.cosine, sine,     n->at.position};
    adamoe_rotate_rows(n->with.team, &rotary, n->tokens, query, key);
}

adamoe_status network_attention_forward(adamoe_lora_network *n, size_t layer)
{
    const network_layer *l = network_layer_at(n, layer);
    network_norm(n, 2 * layer, l->attention_input, NULL, n->tokens, n->at.normed);
    ADAMOE_TRY(network_map_forward(n, layer, ADAMOE_MAP_Q, n->at.normed, l->raw_query));
    ADAMOE_TRY(network_map_forward(n, layer, ADAMOE_MAP_K, n->at.normed, l->raw_key));
    ADAMOE_TRY(network_map_forward(n, layer, ADAMOE_MAP_V, n->at.normed, l->value));
    network_finish_inputs(n, layer, l);
    rotate(n, n->at.sine, l->query, l->key);
    n->call.query = l->query;
    n->call.key = l->key;
    n->call.value = l->value;
    n->call.mixed = l->mixed;
    ADAMOE_TRY(adamoe_span_attention(&n->run, &n->call));
    ADAMOE_TRY(network_map_forward(n, layer, ADAMOE_MAP_O, l->mixed, n->at.update));
    network_finish_output(n, layer, n->at.update);
    network_add(n, l->attention_input, n->at.update, n->config->hidden_size, l->middle);
    return adamoe_ok();
}

static void heads_backward(const adamoe_lora_network *n, const network_layer *l)
{
    const adamoe_config *c = n->config;
    const adamoe_attention_backward_call call = {.ops = n->ops,
                                                 .train_ops = n->train_ops,
                                                 .heads = c->heads,
                                                 .key_value_heads = c->key_value_heads,
                                                 .head_dim = c->head_dim,
                                                 .window = c->sliding_window,
                                                 .sequences = n->sequences,
                                                 .offset = n->offset,
                                                 .longest = n->longest,
                                                 .number = n->at.number,
                                                 .shares = n->at.shares,
                                                 .query = l->query,
                                                 .key = l->key,
                                                 .value = l->value,
                                                 .dmixed = n->at.dmixed,
                                                 .dquery = n->at.dquery,
                                                 .dkey = n->at.dkey,
                                                 .dvalue = n->at.dvalue};
    adamoe_attention_heads_backward(n->with.team, &call);
}

adamoe_status network_attention_backward(adamoe_lora_network *n, size_t layer)
{
    const network_layer *l = network_layer_at(n, layer);
    const size_t d = n->config->hidden_size;
    ADAMOE_TRY(network_map_backward(n, layer, ADAMOE_MAP_O, l->mixed, n->at.dresidual, n->at.dmixed));
    heads_backward(n, l);
    rotate(n, n->at.minus_sine, n->at.dquery, n->at.dkey);
    network_finish_inputs_backward(n, layer, l);
    network_norm(n, 2 * layer, l->attention_input, NULL, n->tokens, n->at.normed);
    ADAMOE_TRY(network_map_backward(n, layer, ADAMOE_MAP_Q, n->at.normed, n->at.dquery, n->at.dnormed));
    ADAMOE_TRY(network_map_backward(n, layer, ADAMOE_MAP_K, n->at.normed, n->at.dkey, n->at.update));
    network_add(n, n->at.dnormed, n->at.update, d, n->at.dnormed);
    ADAMOE_TRY(network_map_backward(n, layer, ADAMOE_MAP_V, n->at.normed, n->at.dvalue, n->at.update));
    network_add(n, n->at.dnormed, n->at.update, d, n->at.dnormed);
    network_norm_backward(n, 2 * layer, l->attention_input, NULL, n->tokens, n->at.dnormed);
    return adamoe_ok();
}

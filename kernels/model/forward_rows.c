/*
 * What the forward pass computes row by row, by the functions of rows.h, and the router of kernels that would
 * round its operands.
 */
#include "model/forward_parts.h"
#include "model/products.h"
#include "model/rows.h"

void forward_embed(const adamoe_forward *forward)
{
    forward_state *state = forward->state;
    adamoe_embed_rows(forward->team, &forward->model->embedding, state->token, state->rows, state->residual);
    state->has_update = false;
}

static adamoe_row_norm norm_of(const adamoe_forward *forward, const float *gain)
{
    const adamoe_config *config = &forward->model->config;
    return (adamoe_row_norm){forward->ops, config->hidden_size, config->rms_norm_eps, gain};
}

void forward_norm(const adamoe_forward *forward, const adamoe_matrix *gain, forward_rows rows,
                  const float *update, float *to)
{
    const adamoe_row_norm norm = norm_of(forward, gain->data);
    adamoe_add_and_norm_rows(forward->team, &norm, forward->state->residual + rows.first * norm.hidden_size,
                             update, rows.count, to);
}

typedef struct wanted_call {
    forward_state *state;
    adamoe_row_norm norm;
} wanted_call;

static void norm_wanted_row(const void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const wanted_call *call = context;
    const forward_state *state = call->state;
    const size_t d = call->norm.hidden_size, at = state->wanted[i].row * d;
    adamoe_add_and_norm_row(&call->norm, state->residual + at, state->has_update ? state->update + at : NULL,
                            state->normed + i * d);
}

void forward_norm_wanted(const adamoe_forward *forward, const adamoe_matrix *gain)
{
    forward_state *state = forward->state;
    const wanted_call call = {state, norm_of(forward, state->gain)};
    adamoe_widen_row(gain, 0, state->gain);
    adamoe_each_row(forward->team, state->wanted_count, norm_wanted_row, &call);
    state->has_update = false;
}

adamoe_status forward_project(const adamoe_forward *forward, const forward_block *block, forward_rows rows,
                              float *keys, float *values)
{
    const adamoe_config *config = &forward->model->config;
    const forward_state *state = forward->state;
    const adamoe_rotary rotary = {forward->ops,  config->heads, config->key_value_heads,     config->head_dim,
                                  state->cosine, state->sine,   state->position + rows.first};
    ADAMOE_TRY(forward_multiply(forward, block->qkv, state->normed + rows.first * config->hidden_size,
                                rows.count, state->projected));
    adamoe_split_and_rotate_rows(forward->team, &rotary, rows.count, state->projected, state->query, keys,
                                 values);
    return adamoe_ok();
}

typedef struct router_call {
    const adamoe_vector_ops *ops;
    size_t hidden_size, all;
    const float *normed, *router; /* [rows, hidden_size], [n + m, hidden_size] */
    float *logits;
} router_call;

static void router_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const router_call *call = context;
    const size_t d = call->hidden_size;
    for (size_t e = 0; e < call->all; ++e) {
        call->logits[row * call->all + e] = call->ops->dot(call->normed + row * d, call->router + e * d, d);
    }
}

void forward_router(const adamoe_forward *forward, const forward_block *block, forward_rows rows,
                    float *logits)
{
    const adamoe_config *config = &forward->model->config;
    const size_t d = config->hidden_size, all = config->experts + config->null_experts;
    const router_call call = {forward->ops,
                              d,
                              all,
                              forward->state->normed + rows.first * d,
                              block->router_rows,
                              logits + rows.first * all};
    adamoe_each_row(forward->team, rows.count, router_row, &call);
}

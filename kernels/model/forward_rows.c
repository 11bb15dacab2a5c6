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
    const adamoe_config *config = &forward->model->config;
    adamoe_embed_rows(forward->team, &forward->model->embedding, state->token, state->rows, state->residual);
    if (config->architecture.multipliers) {
        adamoe_multiply_rows(forward->team, (float)config->multiplier.embedding, state->rows,
                             config->hidden_size, state->residual);
    }
    state->has_update = false;
}

static adamoe_row_norm norm_of(const adamoe_forward *forward, const float *gain)
{
    const adamoe_config *config = &forward->model->config;
    return (adamoe_row_norm){
        .ops = forward->ops,
        .hidden_size = config->hidden_size,
        .eps = config->rms_norm_eps,
        .gain = gain,
        .update_factor = config->architecture.multipliers ? (float)config->multiplier.residual : 0.0f,
    };
}

void forward_norm(const adamoe_forward *forward, const forward_crew *crew, const adamoe_matrix *gain,
                  forward_rows rows, const float *update, float *to)
{
    const adamoe_row_norm norm = norm_of(forward, gain->data);
    adamoe_add_and_norm_rows(crew->run.team, &norm, forward->state->residual + rows.first * norm.hidden_size,
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
    const adamoe_config *config = &forward->model->config;
    forward_state *state = forward->state;
    const wanted_call call = {state, norm_of(forward, state->gain)};
    adamoe_widen_row(gain, 0, state->gain);
    for (size_t c = 0; config->architecture.multipliers && c < gain->columns; ++c) {
        state->gain[c] = (float)((double)state->gain[c] / config->multiplier.logits);
    }
    adamoe_each_row(forward->team, state->wanted_count, norm_wanted_row, &call);
    state->has_update = false;
}

typedef struct heads_call {
    const adamoe_forward *forward;
    const forward_crew *crew;
    const adamoe_attention *attention; /* its biases and gains in float32 */
} heads_call;

/* The bias of a row's query, key or value. */
static void add_bias(const adamoe_forward *forward, const adamoe_matrix *bias, float *x)
{
    forward->ops->add(x, bias->data, bias->columns);
}

/* RMSNorm of what a gain is as wide as: every head, or all of them. */
static void norm_heads(const adamoe_forward *forward, const adamoe_matrix *gain, size_t width, float *x)
{
    for (size_t at = 0; at < width; at += gain->columns) {
        forward->ops->rms_norm(x + at, gain->data, forward->model->config.rms_norm_eps, gain->columns,
                               x + at);
    }
}

static void clip(float limit, float *x, size_t count)
{
    for (size_t c = 0; c < count; ++c) {
        x[c] = x[c] > limit ? limit : x[c] < -limit ? -limit : x[c];
    }
}

static bool finishes_projection(const adamoe_architecture *architecture)
{
    return architecture->biases || architecture->clipped ||
           architecture->query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE;
}

static void finish_projection_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const heads_call *call = context;
    const adamoe_forward *forward = call->forward;
    const adamoe_config *config = &forward->model->config;
    const adamoe_attention *attention = call->attention;
    const size_t width = config->heads * config->head_dim, kv = config->key_value_heads * config->head_dim;
    float *query = call->crew->projected + row * (width + 2 * kv), *key = query + width;
    if (config->architecture.biases) {
        add_bias(forward, &attention->q_bias, query);
        add_bias(forward, &attention->k_bias, key);
        add_bias(forward, &attention->v_bias, key + kv);
    }
    if (config->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE) {
        norm_heads(forward, &attention->q_norm, width, query);
        norm_heads(forward, &attention->k_norm, kv, key);
    }
    if (config->architecture.clipped) {
        clip((float)config->clip, query, width + 2 * kv);
    }
}

adamoe_status forward_project(const adamoe_forward *forward, forward_crew *crew, const forward_block *block,
                              forward_rows rows, float *keys, float *values)
{
    const adamoe_config *config = &forward->model->config;
    const forward_state *state = forward->state;
    const adamoe_rotary rotary = {forward->ops,  config->heads, config->key_value_heads,     config->head_dim,
                                  state->cosine, state->sine,   state->position + rows.first};
    const adamoe_team *team = crew->run.team;
    ADAMOE_TRY(forward_multiply(forward, crew, block->dense[crew->copy].qkv,
                                state->normed + rows.first * config->hidden_size, rows.count,
                                crew->projected));
    forward_end_stage(crew->clock, ADAMOE_FORWARD_PROJECTIONS);
    if (finishes_projection(&config->architecture)) {
        adamoe_each_row(team, rows.count, finish_projection_row,
                        &(heads_call){forward, crew, &block->gains.attention});
    }
    adamoe_split_and_rotate_rows(team, &rotary, rows.count, crew->projected, crew->query, keys, values);
    if (config->architecture.multipliers) {
        adamoe_multiply_rows(team, (float)adamoe_query_multiplier(config), rows.count,
                             config->heads * config->head_dim, crew->query);
    }
    forward_end_stage(crew->clock, ADAMOE_FORWARD_NORMS);
    return adamoe_ok();
}

typedef struct output_call {
    const adamoe_forward *forward;
    const adamoe_matrix *bias;
    float *update;
} output_call;

static void finish_output_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const output_call *call = context;
    add_bias(call->forward, call->bias, call->update + row * call->bias->columns);
}

adamoe_status forward_output(const adamoe_forward *forward, forward_crew *crew, const forward_block *block,
                             forward_rows rows, float *update)
{
    ADAMOE_TRY(forward_multiply(forward, crew, block->dense[crew->copy].o, crew->mixed, rows.count, update));
    forward_end_stage(crew->clock, ADAMOE_FORWARD_PROJECTIONS);
    if (forward->model->config.architecture.output_bias) {
        adamoe_each_row(crew->run.team, rows.count, finish_output_row,
                        &(output_call){forward, &block->gains.attention.o_bias, update});
    }
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

void forward_router(const adamoe_forward *forward, const forward_crew *crew, const forward_block *block,
                    forward_rows rows, float *logits)
{
    const adamoe_config *config = &forward->model->config;
    const size_t d = config->hidden_size, all = config->experts + config->null_experts;
    const router_call call = {forward->ops,
                              d,
                              all,
                              forward->state->normed + rows.first * d,
                              block->router_rows,
                              logits + rows.first * all};
    adamoe_each_row(crew->run.team, rows.count, router_row, &call);
}

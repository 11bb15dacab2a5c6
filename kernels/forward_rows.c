/*
 * What the forward pass computes row by row: embedding, norms, rotation, and the router of kernels that would
 * round its operands. Each row is computed by one thread in one order, whatever its batch-mates.
 */
#include "forward_parts.h"
#include "numbers.h"

/* One task is enough rows to be worth a wake-up. */
#define ROWS_PER_TASK 16

typedef void row_function(const adamoe_forward *forward, size_t row, const void *argument);

typedef struct rows_call {
    const adamoe_forward *forward;
    row_function *compute;
    const void *argument;
    size_t rows;
} rows_call;

static void rows_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const rows_call *call = context;
    const size_t end = (i + 1) * ROWS_PER_TASK < call->rows ? (i + 1) * ROWS_PER_TASK : call->rows;
    for (size_t row = i * ROWS_PER_TASK; row < end; ++row) {
        call->compute(call->forward, row, call->argument);
    }
}

static void each_row(const adamoe_forward *forward, size_t rows, row_function *compute, const void *argument)
{
    rows_call call = {forward, compute, argument, rows};
    forward->team->run(forward->team->state, (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, rows_task, &call);
}

static void embed_row(const adamoe_forward *forward, size_t row, const void *argument)
{
    (void)argument;
    const adamoe_matrix *embedding = &forward->model->embedding;
    const size_t d = embedding->columns, first = forward->state->token[row] * d;
    for (size_t c = 0; c < d; ++c) {
        forward->state->residual[row * d + c] = adamoe_element(embedding->data, embedding->dtype, first + c);
    }
}

void forward_embed(const adamoe_forward *forward)
{
    each_row(forward, forward->state->rows, embed_row, NULL);
    forward->state->has_update = false;
}

static void norm_from(const adamoe_forward *forward, size_t row, size_t to)
{
    const forward_state *state = forward->state;
    const size_t d = forward->model->config.hidden_size;
    float *residual = state->residual + row * d;
    if (state->has_update) {
        forward->ops->add(residual, state->update + row * d, d);
    }
    forward->ops->rms_norm(residual, state->gain, forward->model->config.rms_norm_eps, d,
                           state->normed + to * d);
}

static void norm_row(const adamoe_forward *forward, size_t row, const void *argument)
{
    (void)argument;
    norm_from(forward, row, row);
}

static void norm_wanted_row(const adamoe_forward *forward, size_t i, const void *argument)
{
    (void)argument;
    norm_from(forward, forward->state->wanted[i].row, i);
}

static void set_gain(forward_state *state, const adamoe_matrix *gain)
{
    for (size_t c = 0; c < gain->columns; ++c) {
        state->gain[c] = adamoe_element(gain->data, gain->dtype, c);
    }
}

void forward_norm(const adamoe_forward *forward, const adamoe_matrix *gain)
{
    set_gain(forward->state, gain);
    each_row(forward, forward->state->rows, norm_row, NULL);
    forward->state->has_update = false;
}

void forward_norm_wanted(const adamoe_forward *forward, const adamoe_matrix *gain)
{
    set_gain(forward->state, gain);
    each_row(forward, forward->state->wanted_count, norm_wanted_row, NULL);
    forward->state->has_update = false;
}

/* `argument` is where the keys of the batch's rows begin. */
static void rotate_row(const adamoe_forward *forward, size_t row, const void *argument)
{
    const adamoe_config *config = &forward->model->config;
    const forward_state *state = forward->state;
    const size_t hd = config->head_dim, half = hd / 2;
    const float *cosine = state->cosine + state->position[row] * half;
    const float *sine = state->sine + state->position[row] * half;
    float *const *keys = argument;
    for (size_t h = 0; h < config->heads; ++h) {
        forward->ops->rotate(state->query + (row * config->heads + h) * hd, cosine, sine, half);
    }
    for (size_t h = 0; h < config->key_value_heads; ++h) {
        forward->ops->rotate(*keys + (row * config->key_value_heads + h) * hd, cosine, sine, half);
    }
}

void forward_rotate(const adamoe_forward *forward, float *keys)
{
    each_row(forward, forward->state->rows, rotate_row, &keys);
}

typedef struct router_call {
    const float *rows; /* [n + m, hidden_size] */
    float *logits;
} router_call;

static void router_row(const adamoe_forward *forward, size_t row, const void *argument)
{
    const router_call *call = argument;
    const adamoe_config *config = &forward->model->config;
    const size_t d = config->hidden_size, all = config->experts + config->null_experts;
    for (size_t e = 0; e < all; ++e) {
        call->logits[row * all + e] =
            forward->ops->dot(forward->state->normed + row * d, call->rows + e * d, d);
    }
}

void forward_router(const adamoe_forward *forward, const forward_block *block, float *logits)
{
    const router_call call = {block->router_rows, logits};
    each_row(forward, forward->state->rows, router_row, &call);
}

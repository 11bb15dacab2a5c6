/*
 * What the forward pass computes row by row: embedding, norms, rotation, and the router of kernels that would
 * round its operands. Each row is computed by one thread in one order, whatever its batch-mates.
 */
#include "model/forward_parts.h"
#include "numbers.h"

#include <string.h>

/* One task is enough rows to be worth a wake-up. */
#define ROWS_PER_TASK 16

/* What a thread's rows of a part may take of its second-level cache. */
#define CACHE_BYTES ((size_t)512 << 10)

/* Fewer rows would not pay for reading the weights once more. */
#define LEAST_ROWS 96

size_t forward_rows_of_part(const adamoe_config *config, uint32_t threads)
{
    const size_t projected = (config->heads + 2 * config->key_value_heads) * config->head_dim;
    const size_t row_bytes = (4 * config->hidden_size + 2 * projected) * sizeof(float);
    const size_t rows = CACHE_BYTES / row_bytes;
    return rows < LEAST_ROWS ? SIZE_MAX : rows * threads;
}

typedef void row_function(const adamoe_forward *forward, size_t row, const void *argument);

typedef struct rows_call {
    const adamoe_forward *forward;
    row_function *compute;
    const void *argument;
    size_t first, end;
} rows_call;

static void rows_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const rows_call *call = context;
    const size_t first = call->first + i * ROWS_PER_TASK, left = call->end - first;
    for (size_t row = first; row < first + (left < ROWS_PER_TASK ? left : ROWS_PER_TASK); ++row) {
        call->compute(call->forward, row, call->argument);
    }
}

static void each_row(const adamoe_forward *forward, forward_rows rows, row_function *compute,
                     const void *argument)
{
    rows_call call = {forward, compute, argument, rows.first, rows.first + rows.count};
    forward->team->run(forward->team->state, (rows.count + ROWS_PER_TASK - 1) / ROWS_PER_TASK, rows_task,
                       &call);
}

/* Row `row` of a matrix in float32. A bfloat16 is the upper half of a float. */
static void widen_row(const adamoe_matrix *matrix, size_t row, float *to)
{
    const size_t d = matrix->columns;
    if (matrix->dtype == ADAMOE_BF16) {
        const unsigned char *from = (const unsigned char *)matrix->data + row * d * sizeof(uint16_t);
        for (size_t c = 0; c < d; ++c) {
            uint16_t half;
            memcpy(&half, from + c * sizeof half, sizeof half);
            const uint32_t bits = (uint32_t)half << 16;
            memcpy(&to[c], &bits, sizeof bits);
        }
        return;
    }
    for (size_t c = 0; c < d; ++c) {
        to[c] = adamoe_element(matrix->data, matrix->dtype, row * d + c);
    }
}

static void embed_row(const adamoe_forward *forward, size_t row, const void *argument)
{
    (void)argument;
    const adamoe_matrix *embedding = &forward->model->embedding;
    const size_t d = embedding->columns;
    widen_row(embedding, forward->state->token[row], forward->state->residual + row * d);
}

void forward_embed(const adamoe_forward *forward)
{
    each_row(forward, (forward_rows){0, forward->state->rows}, embed_row, NULL);
    forward->state->has_update = false;
}

typedef struct norm_call {
    const float *update;
    float *to;
    size_t first; /* the row that both begin with */
} norm_call;

static void norm_row(const adamoe_forward *forward, size_t row, const void *argument)
{
    const norm_call *call = argument;
    const forward_state *state = forward->state;
    const size_t d = forward->model->config.hidden_size, at = (row - call->first) * d;
    float *residual = state->residual + row * d;
    if (call->update != NULL) {
        forward->ops->add(residual, call->update + at, d);
    }
    forward->ops->rms_norm(residual, state->gain, forward->model->config.rms_norm_eps, d, call->to + at);
}

void forward_set_gain(forward_state *state, const adamoe_matrix *gain)
{
    widen_row(gain, 0, state->gain);
}

void forward_norm(const adamoe_forward *forward, forward_rows rows, const float *update, float *to)
{
    const norm_call call = {update, to, rows.first};
    each_row(forward, rows, norm_row, &call);
}

static void norm_wanted_row(const adamoe_forward *forward, size_t i, const void *argument)
{
    (void)argument;
    const forward_state *state = forward->state;
    const size_t d = forward->model->config.hidden_size, row = state->wanted[i].row;
    float *residual = state->residual + row * d;
    if (state->has_update) {
        forward->ops->add(residual, state->update + row * d, d);
    }
    forward->ops->rms_norm(residual, state->gain, forward->model->config.rms_norm_eps, d,
                           state->normed + i * d);
}

void forward_norm_wanted(const adamoe_forward *forward, const adamoe_matrix *gain)
{
    forward_set_gain(forward->state, gain);
    each_row(forward, (forward_rows){0, forward->state->wanted_count}, norm_wanted_row, NULL);
    forward->state->has_update = false;
}

typedef struct spread_call {
    float *keys, *values; /* of the part */
    size_t first;         /* its first row */
} spread_call;

static void spread_row(const adamoe_forward *forward, size_t row, const void *argument)
{
    const spread_call *call = argument;
    const adamoe_config *config = &forward->model->config;
    const forward_state *state = forward->state;
    const size_t hd = config->head_dim, half = hd / 2;
    const size_t width = config->heads * hd, kv = config->key_value_heads * hd;
    const float *cosine = state->cosine + state->position[row] * half;
    const float *sine = state->sine + state->position[row] * half;
    const size_t place = row - call->first;
    const float *from = state->projected + place * (width + 2 * kv);
    float *query = state->query + place * width, *key = call->keys + place * kv;
    memcpy(query, from, width * sizeof *query);
    memcpy(key, from + width, kv * sizeof *key);
    memcpy(call->values + place * kv, from + width + kv, kv * sizeof *key);
    for (size_t h = 0; h < config->heads; ++h) {
        forward->ops->rotate(query + h * hd, cosine, sine, half);
    }
    for (size_t h = 0; h < config->key_value_heads; ++h) {
        forward->ops->rotate(key + h * hd, cosine, sine, half);
    }
}

void forward_spread(const adamoe_forward *forward, forward_rows rows, float *keys, float *values)
{
    const spread_call call = {keys, values, rows.first};
    each_row(forward, rows, spread_row, &call);
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

void forward_router(const adamoe_forward *forward, const forward_block *block, forward_rows rows,
                    float *logits)
{
    const router_call call = {block->router_rows, logits};
    each_row(forward, rows, router_row, &call);
}

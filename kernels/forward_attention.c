/*
 * Attention, rotary embedding, RMSNorm and router of the batched forward pass, in float32. Each row is
 * computed by one thread in one order, whatever its batch-mates, so that its bits do not depend on them.
 */
#include "forward_parts.h"
#include "attention.h"
#include "numbers.h"

#include <math.h>
#include <string.h>

/* Independent partial sums, so that a compiler can use vectors without changing the order of any addition. */
#define LANES 8

static float dot(const float *a, const float *b, size_t count)
{
    float lane[LANES] = {0};
    size_t c = 0;
    for (; c + LANES <= count; c += LANES) {
        for (size_t l = 0; l < LANES; ++l) {
            lane[l] += a[c + l] * b[c + l];
        }
    }
    for (size_t l = 0; c < count; ++c, ++l) {
        lane[l] += a[c] * b[c];
    }
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t l = 0; l < width; ++l) {
            lane[l] += lane[l + width];
        }
    }
    return lane[0];
}

/* Rows in blocks: one task is enough rows to be worth a wake-up. */
#define ROWS_PER_TASK 16

typedef struct norm_call {
    const float *gain; /* [width] */
    double eps;
    const float *x;
    float *out;
    size_t rows, width;
} norm_call;

static void norm_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const norm_call *call = context;
    const size_t d = call->width, first = i * ROWS_PER_TASK;
    const size_t rows = call->rows - first < ROWS_PER_TASK ? call->rows - first : ROWS_PER_TASK;
    for (size_t r = first; r < first + rows; ++r) {
        const float *x = call->x + r * d;
        const double squares = (double)dot(x, x, d);
        const float scale = (float)(1.0 / sqrt(squares / (double)d + call->eps));
        for (size_t c = 0; c < d; ++c) {
            call->out[r * d + c] = x[c] * scale * call->gain[c];
        }
    }
}

void forward_rms_norm(const adamoe_forward *forward, forward_state *state, const adamoe_matrix *gain,
                      const float *x, size_t rows, float *out)
{
    for (size_t c = 0; c < gain->columns; ++c) {
        state->gain[c] = adamoe_element(gain->data, gain->dtype, c);
    }
    norm_call call = {state->gain, forward->model->config.rms_norm_eps, x, out, rows, gain->columns};
    forward->team->run(forward->team->state, (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, norm_task, &call);
}

typedef struct router_call {
    const adamoe_config *config;
    const float *router_rows; /* [n + m, hidden_size] */
    forward_state *state;
} router_call;

static void router_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const router_call *call = context;
    forward_state *state = call->state;
    const size_t d = call->config->hidden_size, all = call->config->experts + call->config->null_experts;
    const size_t end = (i + 1) * ROWS_PER_TASK < state->rows ? (i + 1) * ROWS_PER_TASK : state->rows;
    for (size_t row = i * ROWS_PER_TASK; row < end; ++row) {
        for (size_t e = 0; e < all; ++e) {
            state->router_logits[row * all + e] = dot(state->normed + row * d, call->router_rows + e * d, d);
        }
    }
}

void forward_router(const adamoe_forward *forward, const forward_block *block, forward_state *state)
{
    router_call call = {&forward->model->config, block->router_rows, state};
    forward->team->run(forward->team->state, (state->rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, router_task,
                       &call);
}

typedef struct attention_call {
    const adamoe_config *config;
    forward_state *state;
} attention_call;

static void rotate(const adamoe_config *config, const forward_state *state, size_t position, float *head)
{
    const size_t half = config->head_dim / 2;
    const float *cosine = state->cosine + position * half, *sine = state->sine + position * half;
    for (size_t i = 0; i < half; ++i) {
        const float first = head[i], second = head[i + half];
        head[i] = first * cosine[i] - second * sine[i];
        head[i + half] = second * cosine[i] + first * sine[i];
    }
}

static void rotate_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const attention_call *call = context;
    const adamoe_config *config = call->config;
    forward_state *state = call->state;
    const size_t end = (i + 1) * ROWS_PER_TASK < state->rows ? (i + 1) * ROWS_PER_TASK : state->rows;
    for (size_t row = i * ROWS_PER_TASK; row < end; ++row) {
        for (size_t h = 0; h < config->heads; ++h) {
            rotate(config, state, state->position[row],
                   state->query + (row * config->heads + h) * config->head_dim);
        }
        for (size_t h = 0; h < config->key_value_heads; ++h) {
            rotate(config, state, state->position[row],
                   state->keys + (row * config->key_value_heads + h) * config->head_dim);
        }
    }
}

/* row_at[p] = the row that holds position p of the sequence that ends with segment s. */
static void list_rows(const forward_state *state, size_t s, size_t *row_at)
{
    for (; s != ADAMOE_NO_PARENT; s = state->span[s].parent) {
        const forward_span *span = &state->span[s];
        for (size_t i = 0; i < span->count; ++i) {
            row_at[span->start + i] = span->first_row + i;
        }
    }
}

/* softmax in place over scores[first .. last]. */
static void softmax(float *scores, size_t first, size_t last)
{
    float largest = -HUGE_VALF, sum = 0.0f;
    for (size_t j = first; j <= last; ++j) {
        largest = scores[j] > largest ? scores[j] : largest;
    }
    for (size_t j = first; j <= last; ++j) {
        scores[j] = expf(scores[j] - largest);
        sum += scores[j];
    }
    for (size_t j = first; j <= last; ++j) {
        scores[j] /= sum;
    }
}

/* One query head over the keys that it sees, wherever in the batch they stand. */
static void attend(const adamoe_config *config, const forward_state *state, const size_t *row_at, size_t row,
                   size_t head, float *scores)
{
    const size_t hd = config->head_dim, stride = config->key_value_heads * hd;
    const size_t kv = head * config->key_value_heads / config->heads;
    const size_t last = state->position[row], first = adamoe_first_visible(last, config->sliding_window);
    const float *query = state->query + (row * config->heads + head) * hd;
    const float scale = (float)(1.0 / sqrt((double)hd));
    for (size_t j = first; j <= last; ++j) {
        scores[j] = dot(query, state->keys + row_at[j] * stride + kv * hd, hd) * scale;
    }
    softmax(scores, first, last);
    float *mixed = state->mixed + (row * config->heads + head) * hd;
    memset(mixed, 0, hd * sizeof *mixed);
    for (size_t j = first; j <= last; ++j) {
        const float *value = state->values + row_at[j] * stride + kv * hd;
        for (size_t c = 0; c < hd; ++c) {
            mixed[c] += scores[j] * value[c];
        }
    }
}

/* Task: one segment, one head. */
static void attention_task(void *context, size_t i, uint32_t thread)
{
    const attention_call *call = context;
    forward_state *state = call->state;
    const size_t s = i / call->config->heads, head = i % call->config->heads;
    const forward_span *span = &state->span[s];
    size_t *row_at = state->row_at + thread * state->position_room;
    if (state->listed[thread] != s + 1) { /* a thread mostly meets the heads of a segment one after another */
        list_rows(state, s, row_at);
        state->listed[thread] = s + 1;
    }
    for (size_t row = span->first_row; row < span->first_row + span->count; ++row) {
        attend(call->config, state, row_at, row, head, state->scores + thread * state->position_room);
    }
}

void forward_attention(const adamoe_forward *forward, forward_state *state)
{
    attention_call call = {&forward->model->config, state};
    const adamoe_team *team = forward->team;
    if (state->segments == 0) {
        return; /* there may be no arrays yet */
    }
    memset(state->listed, 0, team->threads * sizeof *state->listed);
    team->run(team->state, (state->rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, rotate_task, &call);
    team->run(team->state, state->segments * call.config->heads, attention_task, &call);
}

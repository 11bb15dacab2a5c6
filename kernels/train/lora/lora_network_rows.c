/*
 * What the network computes row by row beside its maps.
 */
#include "train/lora/lora_network_parts.h"

#include <string.h>

/* One task is enough rows to be worth a wake-up. */
#define ROWS_PER_TASK 16

typedef struct rows_call {
    const adamoe_lora_network *n;
    network_row *compute;
    void *argument;
    size_t rows;
} rows_call;

static void rows_task(void *context, size_t i, uint32_t thread)
{
    const rows_call *call = context;
    const size_t end = (i + 1) * ROWS_PER_TASK < call->rows ? (i + 1) * ROWS_PER_TASK : call->rows;
    for (size_t row = i * ROWS_PER_TASK; row < end; ++row) {
        call->compute(call->n, row, thread, call->argument);
    }
}

void network_each_row(const adamoe_lora_network *n, size_t rows, network_row *compute, void *argument)
{
    rows_call call = {n, compute, argument, rows};
    n->with.team->run(n->with.team->state, (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, rows_task, &call);
}

typedef struct norm_call {
    const float *gain, *x;
    const uint32_t *list;
    float *normed;
    const float *dnormed;
} norm_call;

static const float *listed(const adamoe_lora_network *n, const norm_call *call, size_t i)
{
    return call->x + (call->list == NULL ? i : call->list[i]) * n->config->hidden_size;
}

static void norm_row(const adamoe_lora_network *n, size_t i, uint32_t thread, void *argument)
{
    (void)thread;
    const norm_call *call = argument;
    const size_t d = n->config->hidden_size;
    n->ops->rms_norm(listed(n, call, i), call->gain, n->config->rms_norm_eps, d, call->normed + i * d);
}

void network_norm(const adamoe_lora_network *n, size_t gain, const float *x, const uint32_t *list,
                  size_t rows, float *normed)
{
    norm_call call = {.gain = network_gain(n, gain), .x = x, .list = list, .normed = normed};
    network_each_row(n, rows, norm_row, &call);
}

static void norm_backward_row(const adamoe_lora_network *n, size_t i, uint32_t thread, void *argument)
{
    (void)thread;
    const norm_call *call = argument;
    const size_t d = n->config->hidden_size, row = call->list == NULL ? i : call->list[i];
    (void)n->train_ops->rms_norm_backward(listed(n, call, i), call->gain, n->config->rms_norm_eps,
                                          call->dnormed + i * d, d, n->at.dresidual + row * d);
}

void network_norm_backward(const adamoe_lora_network *n, size_t gain, const float *x, const uint32_t *list,
                           size_t rows, const float *dnormed)
{
    norm_call call = {.gain = network_gain(n, gain), .x = x, .list = list, .dnormed = dnormed};
    network_each_row(n, rows, norm_backward_row, &call);
}

typedef struct add_call {
    const float *a, *b;
    size_t width;
    float *sum;
} add_call;

static void add_row(const adamoe_lora_network *n, size_t row, uint32_t thread, void *argument)
{
    (void)thread;
    const add_call *call = argument;
    const size_t at = row * call->width;
    if (call->sum != call->a) {
        memcpy(call->sum + at, call->a + at, call->width * sizeof(float));
    }
    n->ops->add(call->sum + at, call->b + at, call->width);
}

void network_add(const adamoe_lora_network *n, const float *a, const float *b, size_t width, float *sum)
{
    add_call call = {a, b, width, sum};
    network_each_row(n, n->tokens, add_row, &call);
}

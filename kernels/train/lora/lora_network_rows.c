/*
 * What the network computes row by row beside its maps, by the functions of model/rows.h.
 */
#include "train/lora/lora_network_parts.h"
#include "train/norm_backward.h"

#include <string.h>

typedef struct rows_call {
    const adamoe_lora_network *n;
    network_row *compute;
    void *argument;
} rows_call;

static void compute_row(const void *context, size_t row, uint32_t thread)
{
    const rows_call *call = context;
    call->compute(call->n, row, thread, call->argument);
}

void network_each_row(const adamoe_lora_network *n, size_t rows, network_row *compute, void *argument)
{
    const rows_call call = {n, compute, argument};
    adamoe_each_row(n->with.team, rows, compute_row, &call);
}

static adamoe_row_norm norm_of(const adamoe_lora_network *n, size_t gain)
{
    return (adamoe_row_norm){.ops = n->ops,
                             .hidden_size = n->config->hidden_size,
                             .eps = n->config->rms_norm_eps,
                             .gain = network_gain(n, gain)};
}

void network_norm(const adamoe_lora_network *n, size_t gain, const float *x, const uint32_t *list,
                  size_t rows, float *normed)
{
    const adamoe_row_norm norm = norm_of(n, gain);
    adamoe_norm_rows(n->with.team, &norm, x, list, rows, normed);
}

void network_norm_backward(const adamoe_lora_network *n, size_t gain, const float *x, const uint32_t *list,
                           size_t rows, const float *dnormed)
{
    const adamoe_row_norm norm = norm_of(n, gain);
    const adamoe_norm_backward_call call = {.norm = &norm,
                                            .train_ops = n->train_ops,
                                            .x = x,
                                            .list = list,
                                            .rows = rows,
                                            .dnormed = dnormed,
                                            .dx = n->at.dresidual};
    adamoe_norm_backward(n->with.team, &call);
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

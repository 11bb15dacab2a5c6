/*
 * What forward and backward pass do row by row, and the norms.
 */
#include "train/model/backprop_parts.h"
#include "train/each_row.h"

/* Columns of one task where a gradient is summed over all rows. */
#define COLUMNS_PER_TASK 32

typedef struct rows_call {
    const adamoe_backprop *b;
    backprop_row *compute;
    const void *argument;
} rows_call;

static void compute_row(const void *context, size_t row)
{
    const rows_call *call = context;
    call->compute(call->b, row, call->argument);
}

void backprop_each_row(const adamoe_backprop *b, size_t rows, backprop_row *compute, const void *argument)
{
    const rows_call call = {b, compute, argument};
    adamoe_each_row(b->team, rows, compute_row, &call);
}

float *backprop_gradient(const adamoe_backprop *b, unsigned kind, const adamoe_matrix *weight)
{
    const bool wanted = b->gradient != NULL && (b->trained & kind) != 0;
    return wanted ? b->gradient + adamoe_parameter_place(b->parameters, weight) : NULL;
}

/* One norm over some rows of x, forward or backward. */
typedef struct norm_call {
    const float *gain, *x;
    const uint32_t *list;
    float *normed;
    const float *dnormed;
    float *dgain;
    size_t rows;
} norm_call;

static size_t listed(const norm_call *call, size_t i)
{
    return call->list == NULL ? i : call->list[i];
}

static void norm_row(const adamoe_backprop *b, size_t i, const void *argument)
{
    const norm_call *call = argument;
    const size_t d = b->config->hidden_size;
    b->ops->rms_norm(call->x + listed(call, i) * d, call->gain, b->config->rms_norm_eps, d,
                     call->normed + i * d);
}

void backprop_norm(const adamoe_backprop *b, const adamoe_matrix *gain, const float *x, const uint32_t *list,
                   size_t rows, float *normed)
{
    const norm_call call = {.gain = gain->data, .x = x, .list = list, .normed = normed};
    backprop_each_row(b, rows, norm_row, &call);
}

static void norm_backward_row(const adamoe_backprop *b, size_t i, const void *argument)
{
    const norm_call *call = argument;
    const size_t d = b->config->hidden_size, row = listed(call, i);
    b->at.inverse_rms[i] =
        b->train_ops->rms_norm_backward(call->x + row * d, call->gain, b->config->rms_norm_eps,
                                        call->dnormed + i * d, d, b->at.dresidual + row * d);
}

/* Some columns of dgain = sum over rows of dnormed x / rms, in ascending order. */
static void gain_task(const adamoe_backprop *b, const norm_call *call, size_t first, size_t count)
{
    const size_t d = b->config->hidden_size;
    for (size_t c = 0; c < count; ++c) {
        call->dgain[first + c] = 0.0f;
    }
    for (size_t i = 0; i < call->rows; ++i) {
        b->train_ops->add_product(call->dgain + first, b->at.inverse_rms[i],
                                  call->x + listed(call, i) * d + first, call->dnormed + i * d + first,
                                  count);
    }
}

typedef struct columns_call {
    const adamoe_backprop *b;
    const norm_call *norm;
} columns_call;

static void columns_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const columns_call *call = context;
    const size_t first = i * COLUMNS_PER_TASK, left = call->b->config->hidden_size - first;
    gain_task(call->b, call->norm, first, left < COLUMNS_PER_TASK ? left : COLUMNS_PER_TASK);
}

void backprop_norm_backward(const adamoe_backprop *b, const adamoe_matrix *gain, const float *x,
                            const uint32_t *list, size_t rows, const float *dnormed)
{
    const norm_call call = {.gain = gain->data,
                            .x = x,
                            .list = list,
                            .dnormed = dnormed,
                            .dgain = backprop_gradient(b, ADAMOE_GAINS, gain),
                            .rows = rows};
    backprop_each_row(b, rows, norm_backward_row, &call);
    if (call.dgain != NULL) {
        columns_call columns = {b, &call};
        const size_t tasks = (b->config->hidden_size + COLUMNS_PER_TASK - 1) / COLUMNS_PER_TASK;
        b->team->run(b->team->state, tasks, columns_task, &columns);
    }
}

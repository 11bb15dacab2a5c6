/*
 * What forward and backward pass do row by row, and the norms, by the functions of model/rows.h.
 */
#include "train/model/backprop_parts.h"
#include "train/norm_backward.h"

typedef struct rows_call {
    const adamoe_backprop *b;
    backprop_row *compute;
    const void *argument;
} rows_call;

static void compute_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
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

static adamoe_row_norm norm_of(const adamoe_backprop *b, const adamoe_matrix *gain)
{
    return (adamoe_row_norm){.ops = b->ops,
                             .hidden_size = b->config->hidden_size,
                             .eps = b->config->rms_norm_eps,
                             .gain = gain->data};
}

void backprop_norm(const adamoe_backprop *b, const adamoe_matrix *gain, const float *x, const uint32_t *list,
                   size_t rows, float *normed)
{
    const adamoe_row_norm norm = norm_of(b, gain);
    adamoe_norm_rows(b->team, &norm, x, list, rows, normed);
}

void backprop_norm_backward(const adamoe_backprop *b, const adamoe_matrix *gain, const float *x,
                            const uint32_t *list, size_t rows, const float *dnormed)
{
    const adamoe_row_norm norm = norm_of(b, gain);
    const adamoe_norm_backward_call call = {.norm = &norm,
                                            .train_ops = b->train_ops,
                                            .x = x,
                                            .list = list,
                                            .rows = rows,
                                            .dnormed = dnormed,
                                            .dx = b->at.dresidual,
                                            .dgain = backprop_gradient(b, ADAMOE_GAINS, gain),
                                            .inverse_rms = b->at.inverse_rms};
    adamoe_norm_backward(b->team, &call);
}

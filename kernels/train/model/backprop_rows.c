/*
 * What forward and backward pass do row by row, and the norms, by the functions of model/rows.h.
 */
#include "train/model/backprop_parts.h"
#include "train/norm_backward.h"

#include <math.h>
#include <string.h>

/* Columns of one task where a bias is summed over all rows. */
#define COLUMNS_PER_TASK 32

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
    const bool wanted = b->gradient != NULL && weight->data != NULL && (b->trained & kind) != 0;
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

/* ------------------------------------------------------------------------ what some architectures have besides */

void backprop_multiply(const adamoe_backprop *b, float factor, size_t rows, size_t columns, float *x)
{
    if (factor != 1.0f) {
        adamoe_multiply_rows(b->team, factor, rows, columns, x);
    }
}

typedef struct bias_call {
    const adamoe_backprop *b;
    const float *bias, *dy;
    size_t columns;
    float *x, *dbias;
} bias_call;

static void bias_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const bias_call *call = context;
    call->b->ops->add(call->x + row * call->columns, call->bias, call->columns);
}

void backprop_add_bias(const adamoe_backprop *b, const adamoe_matrix *bias, float *x)
{
    if (bias->data != NULL) {
        adamoe_each_row(b->team, b->tokens, bias_row,
                        &(bias_call){.b = b, .bias = bias->data, .columns = bias->columns, .x = x});
    }
}

static void bias_task(void *context, size_t task, uint32_t thread)
{
    (void)thread;
    const bias_call *call = context;
    const size_t first = task * COLUMNS_PER_TASK, left = call->columns - first;
    const size_t count = left < COLUMNS_PER_TASK ? left : COLUMNS_PER_TASK;
    memset(call->dbias + first, 0, count * sizeof *call->dbias);
    for (size_t t = 0; t < call->b->tokens; ++t) {
        call->b->ops->add(call->dbias + first, call->dy + t * call->columns + first, count);
    }
}

void backprop_bias_backward(const adamoe_backprop *b, const float *dy, size_t columns, float *dbias)
{
    bias_call call = {.b = b, .dy = dy, .columns = columns, .dbias = dbias};
    if (dbias != NULL) {
        b->team->run(b->team->state, (columns + COLUMNS_PER_TASK - 1) / COLUMNS_PER_TASK, bias_task, &call);
    }
}

typedef struct cut_call {
    float limit;
    size_t columns;
    float *x;
    unsigned char *beyond;
} cut_call;

static void cut_one_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const cut_call *call = context;
    float *x = call->x + row * call->columns;
    unsigned char *beyond = call->beyond + row * call->columns;
    for (size_t c = 0; c < call->columns; ++c) {
        beyond[c] = x[c] > call->limit || x[c] < -call->limit;
        x[c] = beyond[c] == 0 ? x[c] : copysignf(call->limit, x[c]);
    }
}

void backprop_cut(const adamoe_backprop *b, size_t columns, float *x, unsigned char *beyond)
{
    if (b->config->architecture.clipped) {
        adamoe_each_row(b->team, b->tokens, cut_one_row,
                        &(cut_call){(float)b->config->clip, columns, x, beyond});
    }
}

static void cut_one_row_backward(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const cut_call *call = context;
    for (size_t c = row * call->columns; c < (row + 1) * call->columns; ++c) {
        call->x[c] = call->beyond[c] == 0 ? call->x[c] : 0.0f;
    }
}

void backprop_cut_backward(const adamoe_backprop *b, size_t columns, unsigned char *beyond, float *dout)
{
    if (b->config->architecture.clipped) {
        adamoe_each_row(b->team, b->tokens, cut_one_row_backward,
                        &(cut_call){.columns = columns, .x = dout, .beyond = beyond});
    }
}

static adamoe_row_norm head_norm_of(const adamoe_backprop *b, const adamoe_matrix *gain)
{
    adamoe_row_norm norm = norm_of(b, gain);
    norm.hidden_size = gain->columns;
    return norm;
}

void backprop_head_norm(const adamoe_backprop *b, const adamoe_matrix *gain, const float *raw, size_t width,
                        float *out)
{
    if (b->config->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE) {
        const adamoe_row_norm norm = head_norm_of(b, gain);
        adamoe_norm_rows(b->team, &norm, raw, NULL, b->tokens * (width / gain->columns), out);
    }
}

void backprop_head_norm_backward(const adamoe_backprop *b, const adamoe_matrix *gain, const float *raw,
                                 size_t width, float *dout)
{
    if (b->config->architecture.query_key_norm == ADAMOE_QUERY_KEY_NORM_NONE) {
        return;
    }
    const adamoe_row_norm norm = head_norm_of(b, gain);
    const adamoe_norm_backward_call call = {.norm = &norm,
                                            .train_ops = b->train_ops,
                                            .x = raw,
                                            .rows = b->tokens * (width / gain->columns),
                                            .dnormed = dout,
                                            .dx = b->at.draw,
                                            .dgain = backprop_gradient(b, ADAMOE_GAINS, gain),
                                            .inverse_rms = b->at.inverse_rms};
    memset(b->at.draw, 0, b->tokens * width * sizeof *b->at.draw);
    adamoe_norm_backward(b->team, &call);
    memcpy(dout, b->at.draw, b->tokens * width * sizeof *dout);
}

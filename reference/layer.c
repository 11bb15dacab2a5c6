/*
 * One SwiGLU expert, and the sum over a token's experts: reference/README.md section 2, with the operand
 * rounding of section 4.
 */
#include "layer.h"
#include "plan.h"
#include "numbers.h"

#include <math.h>
#include <string.h>

const adamoe_operands adamoe_float32_operands = {ADAMOE_FLOAT32, ADAMOE_FLOAT32, ADAMOE_FLOAT32};

double adamoe_silu(double z)
{
    return z / (1.0 + exp(-z));
}

void adamoe_matrix_vector(const adamoe_matrix *matrix, adamoe_arithmetic weight, const double *x, double *y,
                          double *row_buffer)
{
    for (size_t r = 0; r < matrix->rows; ++r) {
        double sum = 0.0;
        adamoe_matrix_row(matrix, r, row_buffer);
        adamoe_round_operand(weight, row_buffer, matrix->columns);
        for (size_t c = 0; c < matrix->columns; ++c) {
            sum += row_buffer[c] * x[c];
        }
        y[r] = sum;
    }
}

void adamoe_matrix_vector_float(const adamoe_matrix *matrix, const float *x, float *y, double *buffer)
{
    double *input = buffer, *row_buffer = input + matrix->columns, *output = row_buffer + matrix->columns;
    for (size_t c = 0; c < matrix->columns; ++c) {
        input[c] = (double)x[c];
    }
    adamoe_matrix_vector(matrix, ADAMOE_FLOAT32, input, output, row_buffer);
    for (size_t r = 0; r < matrix->rows; ++r) {
        y[r] = (float)output[r];
    }
}

size_t adamoe_expert_work(size_t hidden_size, size_t intermediate_size)
{
    const size_t longest_row = hidden_size > intermediate_size ? hidden_size : intermediate_size;
    return 2 * intermediate_size + longest_row;
}

void adamoe_expert_forward(const adamoe_expert *expert, adamoe_operands operands, double *x, double *y,
                           double *work)
{
    const size_t ff = expert->w1.rows;
    double *h = work, *up = h + ff, *row_buffer = up + ff;

    adamoe_round_operand(operands.x, x, expert->w1.columns);
    adamoe_matrix_vector(&expert->w1, operands.weight, x, h, row_buffer);
    adamoe_matrix_vector(&expert->w3, operands.weight, x, up, row_buffer);
    for (size_t i = 0; i < ff; ++i) {
        h[i] = adamoe_silu(h[i]) * up[i];
    }
    adamoe_round_operand(operands.h, h, ff);
    adamoe_matrix_vector(&expert->w2, operands.weight, h, y, row_buffer);
}

size_t adamoe_layer_work(const adamoe_layer *layer)
{
    return 3 * layer->hidden_size + adamoe_expert_work(layer->hidden_size, layer->intermediate_size);
}

void adamoe_layer_forward(const adamoe_layer *layer, adamoe_operands operands, const float *x,
                          const adamoe_plan *plan, float *y, double *work)
{
    const size_t d = layer->hidden_size;
    double *sum = work, *input = sum + d, *output = input + d, *expert_work = output + d;

    for (size_t t = 0; t < plan->tokens; ++t) {
        memset(sum, 0, d * sizeof *sum);
        for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
            const size_t row = plan->token_row[i];
            const double scale = plan->dispatch == NULL ? 1.0 : (double)plan->dispatch[row];
            for (size_t c = 0; c < d; ++c) {
                input[c] = scale * (double)x[plan->input[row] * d + c];
            }
            adamoe_expert_forward(&layer->expert[adamoe_plan_expert(plan, row)], operands, input, output,
                                  expert_work);
            for (size_t c = 0; c < d; ++c) {
                sum[c] += (double)plan->combine[i] * output[c];
            }
        }
        for (size_t c = 0; c < d; ++c) {
            const double self =
                plan->self_scale == NULL ? 0.0 : (double)plan->self_scale[t] * (double)x[t * d + c];
            y[t * d + c] = (float)(sum[c] + self);
        }
    }
}

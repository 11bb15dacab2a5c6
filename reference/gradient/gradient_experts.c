/*
 * The gradient of one SwiGLU expert, and of a plan: the weighted sum over each token's experts. A plan has no
 * row for a zero null expert, so nothing flows there.
 */
#include "gradient/gradient.h"
#include "plan.h"

#include <math.h>
#include <string.h>

const adamoe_operands adamoe_float64_operands = {ADAMOE_FLOAT64, ADAMOE_FLOAT64, ADAMOE_FLOAT64};

/* silu(z) = z s with s = 1 / (1 + exp(-z)); silu'(z) = s (1 + z (1 - s)). */
static double silu_derivative(double z)
{
    const double s = 1.0 / (1.0 + exp(-z));
    return s * (1.0 + z * (1.0 - s));
}

size_t adamoe_expert_backward_work(size_t hidden_size, size_t intermediate_size)
{
    const size_t longest_row = hidden_size > intermediate_size ? hidden_size : intermediate_size;
    return 6 * intermediate_size + longest_row;
}

/* With g = w1 x, u = w3 x, h = silu(g) * u and y = w2 h: dh = w2^T dy, du = dh silu(g), dg
 * = dh u silu'(g). */
void adamoe_expert_backward(const adamoe_expert *expert, const double *x, const double *dy, double *dx,
                            const adamoe_expert_gradient *gradient, double *work)
{
    const size_t ff = expert->w1.rows;
    double *g = work, *u = g + ff, *h = u + ff, *dh = h + ff, *dg = dh + ff, *du = dg + ff;
    double *row_buffer = du + ff;

    adamoe_matrix_vector(&expert->w1, ADAMOE_FLOAT64, x, g, row_buffer);
    adamoe_matrix_vector(&expert->w3, ADAMOE_FLOAT64, x, u, row_buffer);
    for (size_t i = 0; i < ff; ++i) {
        h[i] = adamoe_silu(g[i]) * u[i];
    }
    memset(dh, 0, ff * sizeof *dh);
    adamoe_product_backward(&expert->w2, h, dy, dh, gradient->w2);
    for (size_t i = 0; i < ff; ++i) {
        du[i] = dh[i] * adamoe_silu(g[i]);
        dg[i] = dh[i] * u[i] * silu_derivative(g[i]);
    }
    adamoe_product_backward(&expert->w1, x, dg, dx, gradient->w1);
    adamoe_product_backward(&expert->w3, x, du, dx, gradient->w3);
}

size_t adamoe_plan_backward_work(const adamoe_layer *layer)
{
    return 4 * layer->hidden_size + adamoe_expert_backward_work(layer->hidden_size, layer->intermediate_size);
}

/* input = dispatch * x[input of the row] */
static double read_input(const adamoe_layer *layer, const double *x, const adamoe_plan *plan, size_t row,
                         double *input)
{
    const double scale = plan->dispatch == NULL ? 1.0 : (double)plan->dispatch[row];
    for (size_t c = 0; c < layer->hidden_size; ++c) {
        input[c] = scale * x[plan->input[row] * layer->hidden_size + c];
    }
    return scale;
}

void adamoe_plan_double(const adamoe_layer *layer, const double *x, const adamoe_plan *plan,
                        const adamoe_plan_weights *weights, double *y, double *work)
{
    const size_t d = layer->hidden_size;
    double *input = work, *output = input + d, *expert_work = output + d;
    memset(y, 0, plan->tokens * d * sizeof *y);
    for (size_t t = 0; t < plan->tokens; ++t) {
        for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
            const size_t row = plan->token_row[i];
            read_input(layer, x, plan, row, input);
            adamoe_expert_forward(&layer->expert[adamoe_plan_expert(plan, row)], adamoe_float64_operands,
                                  input, output, expert_work);
            for (size_t c = 0; c < d; ++c) {
                y[t * d + c] += weights->combine[i] * output[c];
            }
        }
        for (size_t c = 0; c < d && weights->self_scale != NULL; ++c) {
            y[t * d + c] += weights->self_scale[t] * x[t * d + c];
        }
    }
}

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0.0;
    for (size_t c = 0; c < count; ++c) {
        sum += a[c] * b[c];
    }
    return sum;
}

/* One place i of a token, y += combine[i] * E(input): dcombine[i] += dy · E(input), and the expert's own
 * gradient for combine[i] * dy. */
static void place_backward(const adamoe_layer *layer, const double *x, const adamoe_plan *plan, size_t i,
                           double weight, const double *dy, double *dx, const adamoe_expert_gradient *expert,
                           double *dcombine, double *work)
{
    static const adamoe_expert_gradient none = {NULL, NULL, NULL};
    const size_t d = layer->hidden_size, row = plan->token_row[i], e = adamoe_plan_expert(plan, row);
    double *input = work, *output = input + d, *dinput = output + d, *doutput = dinput + d;
    double *expert_work = doutput + d;
    const double scale = read_input(layer, x, plan, row, input);

    if (dcombine != NULL) {
        adamoe_expert_forward(&layer->expert[e], adamoe_float64_operands, input, output, expert_work);
        *dcombine += dot(dy, output, d);
    }
    memset(dinput, 0, d * sizeof *dinput);
    for (size_t c = 0; c < d; ++c) {
        doutput[c] = weight * dy[c];
    }
    adamoe_expert_backward(&layer->expert[e], input, doutput, dinput, expert == NULL ? &none : &expert[e],
                           expert_work);
    for (size_t c = 0; c < d && dx != NULL; ++c) {
        dx[plan->input[row] * d + c] += scale * dinput[c];
    }
}

void adamoe_plan_backward(const adamoe_layer *layer, const double *x, const adamoe_plan *plan,
                          const adamoe_plan_weights *weights, const double *dy, double *dx,
                          const adamoe_expert_gradient *expert, const adamoe_plan_weights *derivative,
                          double *work)
{
    const size_t d = layer->hidden_size;
    for (size_t t = 0; t < plan->tokens; ++t) {
        for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
            place_backward(layer, x, plan, i, weights->combine[i], dy + t * d, dx, expert,
                           derivative == NULL ? NULL : &derivative->combine[i], work);
        }
        if (weights->self_scale == NULL) {
            continue;
        }
        for (size_t c = 0; c < d && dx != NULL; ++c) {
            dx[t * d + c] += weights->self_scale[t] * dy[t * d + c];
        }
        if (derivative != NULL) {
            derivative->self_scale[t] += dot(dy + t * d, x + t * d, d);
        }
    }
}

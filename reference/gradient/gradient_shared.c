/*
 * The shared expert in double, and its gradient: y += s E(x) with s = sigmoid(g . x).
 */
#include "gradient/gradient.h"
#include "numbers.h"

#include <math.h>
#include <string.h>

size_t adamoe_shared_work(const adamoe_config *config)
{
    return 3 * config->hidden_size +
           adamoe_expert_backward_work(config->hidden_size, config->shared_intermediate_size);
}

/* s; input [hidden_size] = x, which the expert is free to change. */
static double gate_of(const adamoe_block *block, const double *x, double *input)
{
    double logit = 0.0;
    for (size_t c = 0; c < block->shared_gate.columns; ++c) {
        input[c] = x[c];
        logit += adamoe_matrix_at(&block->shared_gate, 0, c) * x[c];
    }
    return 1.0 / (1.0 + exp(-logit));
}

void adamoe_shared_double(const adamoe_block *block, const double *x, double *y, double *work)
{
    const size_t d = block->shared_gate.columns;
    double *input = work, *output = input + d;
    const double gate = gate_of(block, x, input);
    adamoe_expert_forward(&block->shared, adamoe_float64_operands, input, output, output + d);
    for (size_t c = 0; c < d; ++c) {
        y[c] += gate * output[c];
    }
}

/* ds = dy . E(x), dlogit = ds s (1 - s); the expert's own gradient is that for s dy. */
void adamoe_shared_backward(const adamoe_block *block, const double *x, const double *dy, double *dx,
                            const adamoe_shared_gradient *gradient, double *work)
{
    const size_t d = block->shared_gate.columns;
    double *input = work, *output = input + d, *doutput = output + d;
    const double gate = gate_of(block, x, input);
    double dgate = 0.0;
    adamoe_expert_forward(&block->shared, adamoe_float64_operands, input, output, doutput + d);
    for (size_t c = 0; c < d; ++c) {
        dgate += dy[c] * output[c];
        doutput[c] = gate * dy[c];
    }
    adamoe_expert_backward(&block->shared, x, doutput, dx, &gradient->expert, doutput + d);
    const double dlogit = dgate * gate * (1.0 - gate);
    adamoe_product_backward(&block->shared_gate, x, &dlogit, dx, gradient->gate);
}

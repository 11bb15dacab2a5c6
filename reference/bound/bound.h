/*
 * The yardstick: the exact result of what a kernel computes, and how far rounding can carry it from there.
 *
 * A sum of K terms t is rounded once a step, by at most u times the partial sum: with p the largest |partial
 * sum| in ascending order, the squared errors of the steps add up to at most u^2 K p^2, and those of products
 * that are rounded on their own to u^2 sum t^2. V = K (sum t^2 + p^2) covers both, and the partial sums of
 * other orders and of several accumulators as long as they stay below p or wander like a random walk, within
 * sqrt(sum t^2); an order that first adds up what cancels in ascending order is not covered. The error of one
 * element therefore exceeds lambda u sqrt(V) with probability at most 2 exp(-lambda^2 / 2) (Azuma's
 * inequality); lambda follows from the probability of a false alarm that one accepts for a whole tensor.
 * Errors are carried through silu and the products to first order, and through the rounding of h to bfloat16
 * or int8, and of what else a kernel rounds to bfloat16 on the way, as what it is: nothing, unless the value sits
 * within its error of a rounding boundary; then one step. The error of int8's scale is one factor of the whole
 * product with h.
 *
 * Where what is computed on the way, a term, a partial sum, an h or an output, is beyond float32, infinities and NaN
 * follow, and which of them the order of steps decides: the bound is infinite there, so that anything is right.
 *
 * Left out: the rounding of the router's weights, which a plan gives.
 */
#ifndef ADAMOE_BOUND_BOUND_H
#define ADAMOE_BOUND_BOUND_H

#include "adamoe.h"

/* Expected values of a tensor and how far each may be missed; arrays are [count]. */
typedef struct adamoe_yardstick {
    size_t count;
    double *expected;
    double *spread; /* u sqrt(V), in the units of expected */
    double *slack;  /* what one-step flips, an int8 scale and underflow can add, whatever lambda is */
} adamoe_yardstick;

adamoe_status adamoe_yardstick_create(size_t count, adamoe_yardstick *out);
void adamoe_yardstick_free(adamoe_yardstick *yardstick);

/* The arithmetic of a kernel, as it declares it. */
typedef struct adamoe_declared {
    adamoe_arithmetic x, h, weight, accumulate;
    double silu_error; /* in units of 2^-24 */
    adamoe_arithmetic up, down, y;
} adamoe_declared;

adamoe_declared adamoe_kernel_arithmetic(const adamoe_kernel *kernel);

/* The yardstick of adamoe_kernel.experts: out has plan->tokens * hidden_size elements. Errors: memory. */
adamoe_status adamoe_layer_yardstick(const adamoe_layer *layer, adamoe_declared arithmetic, const float *x,
                                     const adamoe_plan *plan, adamoe_yardstick *out);

/* Element `at` of y rounded to bfloat16: `yardstick` has what is known of it before. lambda is the bound factor of the
 * tensor. Where self_scale * x was added to the sum of the experts, `routed` is that sum, and either of the two may
 * be what is rounded; else it is NULL. */
void adamoe_yardstick_round(adamoe_yardstick *yardstick, size_t at, double lambda, const double *routed);

/* The yardstick of adamoe_kernel.multiply: out has count * matrix->rows elements. Errors: memory. */
adamoe_status adamoe_matrix_yardstick(const adamoe_matrix *matrix, adamoe_declared arithmetic, const float *x,
                                      size_t count, adamoe_yardstick *out);

/* magnitude[c] = sum over the rows of token t of |combine * E_e(x)[c]|, in double with float32 operands: what
 * relative errors of the weights multiply. magnitude is [hidden_size]. Errors: memory. */
adamoe_status adamoe_token_magnitude(const adamoe_layer *layer, const float *x, const adamoe_plan *plan,
                                     size_t t, double *magnitude);

/* lambda such that an honest tensor of `count` elements has one beyond it with at most `probability`. */
double adamoe_bound_factor(size_t count, double probability);

/* The probability of a false alarm for a tensor that all checks use. */
#define ADAMOE_FALSE_ALARM 1e-12

#endif

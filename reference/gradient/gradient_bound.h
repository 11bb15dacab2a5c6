/*
 * The yardstick of a gradient: what reference/gradient/gradient_experts.c defines, in double, and how far
 * rounding in float32 can carry each derivative from there. The rule is bound.h's: each sum of K terms t with
 * largest partial sum p adds u^2 K (sum t^2 + p^2) to the variance of its result, and errors go on to first
 * order. What silu gives to two derivatives of a row reaches dx by both, so it is carried by its own name,
 * not as two independent errors. What can underflow is carried beside it, whatever order the factors of a
 * product come in. Two sums may be formed in two ways, and the bound covers both: dcombine as (w2^T dy) . h
 * or as dy . (w2 h), and dx row by row or in one chain over all rows of a token.
 *
 * For plans of a routing, as train/experts.h says: inputs are tokens, no dispatch, a row is in one list. Left
 * out: weights and operands that are rounded to bfloat16 or int8.
 */
#ifndef ADAMOE_GRADIENT_GRADIENT_BOUND_H
#define ADAMOE_GRADIENT_GRADIENT_BOUND_H

#include "bound/bound.h"

typedef struct adamoe_gradient_yardstick {
    adamoe_yardstick dx;         /* [tokens, hidden_size] */
    adamoe_yardstick dcombine;   /* [places] */
    adamoe_yardstick dself;      /* [tokens], or none where the plan has no self_scale */
    adamoe_yardstick w1, w3, w2; /* [experts, rows and columns of the matrix] */
} adamoe_gradient_yardstick;

/* `silu_error`: the largest relative error of 1 / (1 + exp(-z)) as computed, in units of 2^-24. Free *out
 * with adamoe_gradient_yardstick_free. Errors: memory. */
adamoe_status adamoe_gradient_yardstick_create(const adamoe_layer *layer, const float *x,
                                               const adamoe_plan *plan, const float *dy, double silu_error,
                                               adamoe_gradient_yardstick *out);
void adamoe_gradient_yardstick_free(adamoe_gradient_yardstick *yardstick);

#endif

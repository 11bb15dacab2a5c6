/*
 * How the tiers of a gradient call and judge; not for others.
 */
#ifndef ADAMOE_CHECK_TIERS_GRADIENT_JUDGE_H
#define ADAMOE_CHECK_TIERS_GRADIENT_JUDGE_H

#include "check/tiers/judge.h"

/* "dx", "dcombine", "dself_scale", "dw1", "dw3", "dw2". */
extern const char *const adamoe_gradient_tensor_names[ADAMOE_GRADIENT_TENSORS];

/* Calls with every buffer at either end of its pages in turn, and judges each tensor by its yardstick
 * [ADAMOE_GRADIENT_TENSORS], or NULL where there is none. A case is vacuous where every tensor of it is. What
 * the kernel does wrong is the result. Errors: memory. */
adamoe_status adamoe_check_gradient_judged(const adamoe_checking *k, const adamoe_gradient_call *call,
                                           const adamoe_yardstick *const *yardstick);

/* Judges one result: each tensor by its yardstick, and what no row adds to. False where it fails, which then is the
 * result. */
bool adamoe_check_gradient_result(const adamoe_checking *k, const adamoe_plan *plan,
                                  const adamoe_yardstick *const *yardstick,
                                  const adamoe_gradient_output *got);

/* False where two results differ in a bit, which then is the result; `what` says which two. */
bool adamoe_check_gradient_same_bits(const adamoe_checking *k, const adamoe_gradient_output *got,
                                     const adamoe_gradient_output *expected, const char *what);

/* After a failure at a row of a tensor: says which tensor, and which expert where the row then counts from
 * its first. */
void adamoe_check_gradient_place(const adamoe_checking *k, size_t tensor);

#endif

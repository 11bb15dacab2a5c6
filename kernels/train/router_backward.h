/*
 * One token's router backward: from the derivatives of its weights and probabilities to those of its logits.
 * The selection is a constant; weights and probabilities are those that the routing keeps
 * (reference/gradient/gradient_router.c computes them again from the logits).
 */
#ifndef ADAMOE_TRAIN_ROUTER_BACKWARD_H
#define ADAMOE_TRAIN_ROUTER_BACKWARD_H

#include "adamoe.h"

/* dlogits [n + m] is written. dweight has the derivatives of the weights of the selected true experts in
 * ascending order of the expert, dself that of the weight of identity experts; slope [n + m] is the balance
 * loss's (adamoe_balance_slope). */
void adamoe_router_token_backward(const adamoe_routing *routing, size_t token, const float *dweight,
                                  double dself, const double *slope, float *dlogits);

#endif

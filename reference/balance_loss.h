/*
 * The balance loss, of one layer and of a model.
 */
#ifndef ADAMOE_BALANCE_LOSS_H
#define ADAMOE_BALANCE_LOSS_H

#include "adamoe.h"

/* The three forms of the balance loss of one layer with alpha = 1 (reference/README.md section 3):
 *   switch        (n+m) sum_i f_i P_i
 *   null_averaged the same, f of a null expert replaced by the mean of f over the null experts
 *   released      what the released code computes: equal to switch; with `counted` the same formula over the
 *                 counted tokens
 * f_i is the fraction of tokens that selected expert i, P_i the mean probability of expert i. Tokens with
 * counted[t] false count in neither; counted may be NULL: all count. */
typedef struct adamoe_balance_loss {
    double switch_form, null_averaged, released;
} adamoe_balance_loss;

adamoe_balance_loss adamoe_routing_balance_loss(const adamoe_routing *routing, const bool *counted);

/* The loss over several layers. Pooled (the Mixtral form): the tokens of all layers are pooled before the
 * product. Summed (the form of the LoRA-expert code): f of each layer normalised to add up to 1, the losses
 * of the layers added. All routings have the same n, m and k; counted is [tokens] of every layer or NULL. */
typedef enum adamoe_balance_pooling {
    ADAMOE_BALANCE_POOLED = 0,
    ADAMOE_BALANCE_SUMMED = 1,
} adamoe_balance_pooling;

adamoe_balance_loss adamoe_model_balance_loss(const adamoe_routing *const *routing, size_t layers,
                                              adamoe_balance_pooling pooling, const bool *counted);

#endif

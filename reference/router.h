/*
 * The router: from hidden states to a routing, and from a routing to a plan.
 */
#ifndef ADAMOE_ROUTER_H
#define ADAMOE_ROUTER_H

#include "adamoe.h"

/* logits[t, i] = gate[i] · x[t] for i < n, gate2[i - n] · x[t] for the null experts; summed in double, stored
 * as float32. hidden_states is [tokens, hidden_size], logits [tokens, n + m]. A layer whose gate has no rows
 * is dense: its one logit is 0. */
void adamoe_router_logits(const adamoe_layer *layer, const float *hidden_states, size_t tokens,
                          float *logits);

/* The router as one matrix [n + m, hidden_size] in float32: gate's rows, then gate2's. Rows that a dense
 * layer's gate does not have are 0, so that the product with x is always the logits above. out->data is
 * *rows, which the caller gives to free(). Errors: memory. */
adamoe_status adamoe_router_matrix(const adamoe_layer *layer, float **rows, adamoe_matrix *out);

/* What the names of norms and null kinds are everywhere: in files, options, results. `choices` are the names
 * joined by `|' with one in front: --help shows them from the second character on. */
extern const char *const adamoe_norm_names[ADAMOE_NORMS];
extern const char *const adamoe_null_kind_names[ADAMOE_NULL_KINDS];
extern const char adamoe_norm_choices[], adamoe_null_kind_choices[];

/* The norm of that name; false where there is none, or `name` is NULL. */
bool adamoe_norm_named(const char *name, adamoe_norm *out);

/* The logits whose softmax the weights of selected true experts are. */
typedef enum adamoe_softmax_set {
    ADAMOE_OVER_TRUE,     /* the selected true experts */
    ADAMOE_OVER_SELECTED, /* all selected experts */
    ADAMOE_OVER_ALL,      /* all n + m */
    ADAMOE_OVER_EVERY,    /* all n true experts, selected or not */
    ADAMOE_OVER_NOTHING,  /* the weights are no softmax: they have no derivative here */
} adamoe_softmax_set;

/* How a norm makes weights. `weigh` is the definition: weight [k] of one token, 0 for a null expert, from its
 * logits [n + m], the selected ids [k] and their probabilities [k]. Fast paths and gradients compute the
 * softmax that `over` names themselves; where it names none, fast paths call `weigh`, and training refuses. */
typedef struct adamoe_weighting {
    adamoe_softmax_set over;
    void (*weigh)(const adamoe_routing *routing, const float *logits, const float *probability,
                  const uint32_t *id, float *weight);
} adamoe_weighting;

extern const adamoe_weighting adamoe_weightings[ADAMOE_NORMS]; /* by adamoe_norm */

/* OK where training can differentiate the weights of that norm; else NOT_SUPPORTED, by its name. */
adamoe_status adamoe_norm_trains(adamoe_norm norm);

/* Selection and weights from logits [tokens, n + m], which are copied (reference/README.md section 2).
 * Errors: top_k outside 1 .. n + m; a logit that is NaN or infinite, named by token and expert. */
adamoe_status adamoe_routing_create(const float *logits, size_t tokens, size_t experts, size_t null_experts,
                                    adamoe_rule rule, adamoe_routing **out);
void adamoe_routing_free(adamoe_routing *routing);

/* Number of true experts that a token selected, and their mean over all tokens, the load
 * (0 for no tokens). */
size_t adamoe_routing_true_experts(const adamoe_routing *routing, size_t token);
double adamoe_routing_load(const adamoe_routing *routing);

/* Turns a routing round, by expert: a stable counting sort in O(rows + experts), so that the rows of an
 * expert are in the order of their tokens. Errors: more rows than 32 bits count; memory. */
adamoe_status adamoe_plan_create(const adamoe_routing *routing, adamoe_plan **out);
void adamoe_plan_free(adamoe_plan *plan);

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

/*
 * The router: from hidden states to a routing.
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

#endif

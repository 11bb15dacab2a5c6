/*
 * A router of the table in the place of a model's own rule: one router with its parameters for all layers, and what it
 * remembers of each layer from batch to batch.
 *
 * The layer's gate and gate2 are the router's, and the tokens of a batch are all that it sees. Left out: routers with
 * weights that a model has not (phi of Soft MoE, anchors and base of MEMoE, the constant experts and residual logits of
 * MoE++).
 */
#ifndef ADAMOE_ROUTERS_MODEL_MODEL_ROUTER_H
#define ADAMOE_ROUTERS_MODEL_MODEL_ROUTER_H

#include "routers/routers.h"

typedef struct adamoe_model_router {
    const adamoe_router *router;
    double value[ADAMOE_ROUTER_PARAMETERS];
    size_t layers;
    size_t
        states;   /* of a layer: a bias for each id, or lambda (remoe); 0 for routers that remember nothing */
    float *state; /* [layers, states] */
} adamoe_model_router;

/* For a model of so many layers, experts and rows of gate2. States begin at 0, lambda at its parameter. Errors
 * (BAD_INPUT): a router that reads what no model has; memory. */
adamoe_status adamoe_model_router_create(const adamoe_router *router,
                                         const double value[ADAMOE_ROUTER_PARAMETERS], size_t layers,
                                         size_t experts, size_t null_rows, adamoe_model_router *out);
void adamoe_model_router_free(adamoe_model_router *model_router);

/* False for a router that a causal model must not have: where experts have a capacity, or choose, later tokens of the
 * batch decide what an earlier one gets. */
bool adamoe_router_is_causal(const adamoe_router *router, const double value[ADAMOE_ROUTER_PARAMETERS]);

/* False for a router without a gate: its logits are not read. */
bool adamoe_router_has_gate(const adamoe_router *router);

/* What became of a batch in one layer. */
typedef struct adamoe_routed_layer {
    adamoe_router_call call;
    adamoe_router_tensor tensor[4];
    int64_t *home; /* [tokens], or NULL */
    adamoe_routed routed;
} adamoe_routed_layer;

/* Runs the router for a layer. x is [tokens, hidden_size]; logits [tokens, rows of gate and gate2] or NULL, as in
 * adamoe_router_call; all must stay until *out, which may not move, is freed. Tokens of LocMoE are at home in `nodes`
 * runs of equal length. Errors are those of adamoe_router_run; *out is then empty. */
adamoe_status adamoe_model_router_run(const adamoe_model_router *model_router, size_t layer,
                                      const adamoe_layer *moe, const float *x, size_t tokens,
                                      const float *logits, adamoe_routed_layer *out);
void adamoe_routed_layer_free(adamoe_routed_layer *routed);

/* The layer's state becomes what the router says it is after that batch. */
void adamoe_model_router_advance(adamoe_model_router *model_router, size_t layer,
                                 const adamoe_routed *routed);

/* The factor of each of the router's losses in training: 1 where they bring their own; alpha for the balance loss of
 * adamoe (null_averaged) and of top_k; alpha / 2 for both of token choice (V-MoE); lambda for remoe. */
void adamoe_model_router_loss_weights(const adamoe_model_router *model_router, size_t layer, double alpha,
                                      double weight[ADAMOE_ROUTER_LOSSES]);

/* The sum of the losses with those factors. */
double adamoe_model_router_loss(const adamoe_model_router *model_router, const adamoe_routed *routed,
                                const double weight[ADAMOE_ROUTER_LOSSES]);

#endif

/*
 * The loss of a model over a batch and its gradient on the fast path: what adamoe_model_loss of
 * reference/gradient/gradient_model.h defines, in float32 on all threads of a team. Rows of zero null experts
 * do not exist, forward or backward, and the head is computed only where a token has a target.
 *
 * The same weights and batch give the same bits for any number of threads: every sum has one order.
 * Left out: bfloat16 products, recomputing instead of keeping what the way back needs, more than one machine.
 */
#ifndef ADAMOE_TRAIN_MODEL_BACKPROP_H
#define ADAMOE_TRAIN_MODEL_BACKPROP_H

#include "gradient/gradient_model.h"
#include "routers/model/model_router.h"
#include "train/parameters.h"

typedef struct adamoe_backprop adamoe_backprop;

/* `trained` is a set of kinds (parameters.h): the gradient of others is not computed. `parameters`
 * and the team must outlive *out. Errors: memory. */
adamoe_status adamoe_backprop_create(const adamoe_parameters *parameters, const adamoe_team *team,
                                     unsigned trained, adamoe_backprop **out);
void adamoe_backprop_free(adamoe_backprop *backprop);

/* Computes with the instruction set `index` of adamoe_vector_ops_at in place of the widest one. Errors:
 * NOT_SUPPORTED where this machine cannot, BAD_INPUT beyond the end of the list; memory. */
adamoe_status adamoe_backprop_use(adamoe_backprop *backprop, size_t index);

/* Routes by a router of the table in place of the config's rule, whose top_k and norm are then not read; its state
 * moves on with every gradient that is computed. The objective's balance loss is replaced by the router's losses, with
 * the factors of adamoe_model_router_loss_weights. An observer sees no routing. `router` must outlive the object. Errors
 * (BAD_INPUT): a dense model, or one with a residual multiplier. */
adamoe_status adamoe_backprop_use_router(adamoe_backprop *backprop, adamoe_model_router *router);

typedef struct adamoe_backprop_result {
    adamoe_training_loss loss;
    size_t tokens;
    double load;           /* mean number of true experts of a token and layer; 1 for a dense model */
    double all_null_share; /* of tokens and layers without a true expert */
} adamoe_backprop_result;

/* gradient [parameters->count] becomes the gradient, 0 where nothing is trained; where it is NULL, only the
 * loss is computed. observer may be NULL. A batch that is no larger than those before it allocates nothing.
 * Errors as adamoe_model_loss; `gradient` is then undefined. */
adamoe_status adamoe_backprop_run(adamoe_backprop *backprop, const adamoe_training_batch *batch,
                                  const adamoe_objective *objective, const adamoe_observer *observer,
                                  adamoe_backprop_result *result, float *gradient);

#endif

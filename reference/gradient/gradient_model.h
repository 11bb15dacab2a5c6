/*
 * The loss of a whole model over a batch, and its gradient with respect to every weight, in double.
 *
 * The function is that of adamoe_model_forward without its roundings to float32 between the parts; only the
 * selection of experts compares logits as float32, as the definition does.
 */
#ifndef ADAMOE_GRADIENT_GRADIENT_MODEL_H
#define ADAMOE_GRADIENT_GRADIENT_MODEL_H

#include "gradient/gradient.h"

/* Arrays in the shapes of the model's matrices of the same names. All of them are parts of values[count], so
 * that an optimiser or a norm can run through them. Where the head is tied, head is embedding, and both
 * gradients add up there. */
typedef struct adamoe_block_gradient {
    double *input_norm, *post_attention_norm;
    adamoe_attention_gradient attention;
    adamoe_shared_gradient shared; /* where the architecture has one */
    adamoe_layer_gradient moe;
} adamoe_block_gradient;

typedef struct adamoe_model_gradient {
    size_t count;
    double *values;
    double *embedding, *final_norm, *head;
    adamoe_block_gradient *block;   /* [layers] */
    adamoe_expert_gradient *expert; /* [layers, n] what the layers' `expert` point into */
} adamoe_model_gradient;

/* All 0. A dense layer has no gate, and its pointers `gate` and `gate2` are to arrays without elements.
 * Errors: an architecture that training does not know; memory; more elements than memory can address. */
adamoe_status adamoe_model_gradient_create(const adamoe_config *config, adamoe_model_gradient **out);
void adamoe_model_gradient_free(adamoe_model_gradient *gradient);

/* Sequences of any lengths, one after the other: without padding, so every token counts
 * in the balance loss. */
#define ADAMOE_NO_TARGET UINT32_MAX

typedef struct adamoe_training_batch {
    size_t sequences;
    const size_t *offset;   /* [sequences + 1] sequence s has the tokens offset[s] .. offset[s + 1] - 1 */
    const uint32_t *token;  /* [offset[sequences]] */
    const uint32_t *target; /* [offset[sequences]] what should follow each token, or ADAMOE_NO_TARGET */
} adamoe_training_batch;

typedef struct adamoe_objective {
    double alpha; /* of the balance loss; 0 for none */
    adamoe_balance_form form;
    adamoe_balance_pooling pooling;
} adamoe_objective;

/* total = cross_entropy + balance. The balance loss contains alpha; it is 0 for a dense model. */
typedef struct adamoe_training_loss {
    double cross_entropy; /* the mean over the tokens that have a target, in nats */
    double balance, total;
    size_t targets; /* number of tokens that have one */
} adamoe_training_loss;

/* The loss; and gradient += its derivative, where gradient is not NULL. observer, which may be NULL, sees the
 * routing of each layer with the tokens of the whole batch in their order. Errors: an architecture that
 * training does not know; a token or a target
 * outside the vocabulary; a batch without a target; a NaN or infinite logit of a router (its layer and
 * token); a loss that is NaN or infinite (its token); memory. `gradient` is then partly added to. */
adamoe_status adamoe_model_loss(const adamoe_model *model, const adamoe_training_batch *batch,
                                const adamoe_objective *objective, const adamoe_observer *observer,
                                adamoe_training_loss *loss, adamoe_model_gradient *gradient);

#endif

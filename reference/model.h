/*
 * The model as a value: views of all its weights, and its forward pass.
 */
#ifndef ADAMOE_MODEL_H
#define ADAMOE_MODEL_H

#include "attention.h"

typedef struct adamoe_block {
    adamoe_matrix input_norm, post_attention_norm; /* [1, hidden_size] */
    adamoe_attention attention;
    adamoe_expert shared;      /* where the architecture has one: [shared_intermediate_size, hidden_size] */
    adamoe_matrix shared_gate; /* [1, hidden_size] */
    adamoe_layer moe;
} adamoe_block;

typedef struct adamoe_model {
    adamoe_config config;
    adamoe_matrix embedding;   /* [vocab_size, hidden_size] */
    adamoe_matrix final_norm;  /* [1, hidden_size] */
    adamoe_matrix head;        /* [vocab_size, hidden_size]; equal to embedding where tied */
    const adamoe_block *block; /* [layers] */
} adamoe_model;

/* The fields above that are weights, by name, for tables of them; in the order in which files hold them. Those
 * of a layer are neighbours, and so are those of its experts behind them. */
typedef enum adamoe_weight {
    ADAMOE_WEIGHT_EMBEDDING,
    ADAMOE_WEIGHT_INPUT_NORM,
    ADAMOE_WEIGHT_Q,
    ADAMOE_WEIGHT_K,
    ADAMOE_WEIGHT_V,
    ADAMOE_WEIGHT_O,
    ADAMOE_WEIGHT_Q_BIAS,
    ADAMOE_WEIGHT_K_BIAS,
    ADAMOE_WEIGHT_V_BIAS,
    ADAMOE_WEIGHT_O_BIAS,
    ADAMOE_WEIGHT_Q_NORM,
    ADAMOE_WEIGHT_K_NORM,
    ADAMOE_WEIGHT_POST_ATTENTION_NORM,
    ADAMOE_WEIGHT_GATE,
    ADAMOE_WEIGHT_GATE2,
    ADAMOE_WEIGHT_SHARED_W1,
    ADAMOE_WEIGHT_SHARED_W3,
    ADAMOE_WEIGHT_SHARED_W2,
    ADAMOE_WEIGHT_SHARED_GATE,
    ADAMOE_WEIGHT_W1,
    ADAMOE_WEIGHT_W3,
    ADAMOE_WEIGHT_W2,
    ADAMOE_WEIGHT_FINAL_NORM,
    ADAMOE_WEIGHT_HEAD,
    ADAMOE_WEIGHTS
} adamoe_weight;

/* Called after the router of each layer with the routing of the tokens of this call; not for dense models. */
typedef struct adamoe_observer {
    void *context;
    void (*routed)(void *context, size_t layer, const adamoe_routing *routing);
} adamoe_observer;

/* Runs tokens[count] at positions cache->length .. and appends them to the cache. logits is [count,
 * vocab_size] or NULL; hidden, the states after the final norm, is [count, hidden_size] or NULL; observer may
 * be NULL. Errors: a token outside the vocabulary, a full cache, a NaN or infinite logit of a router (its
 * layer and token) or of the head, memory. */
adamoe_status adamoe_model_forward(const adamoe_model *model, adamoe_cache *cache, const uint32_t *tokens,
                                   size_t count, const adamoe_observer *observer, float *hidden,
                                   float *logits);

/* The logits [vocab_size] that follow token `token` of the states that adamoe_model_forward gave. work is
 * [adamoe_model_head_work]. Errors: a NaN or infinite logit, named by token and vocabulary entry. */
adamoe_status adamoe_model_head(const adamoe_model *model, const float *hidden, size_t token, float *logits,
                                double *work);
size_t adamoe_model_head_work(const adamoe_config *config);

#endif

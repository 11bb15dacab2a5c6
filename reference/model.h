/*
 * The model as a value: what it is made of, its sizes, and views of all its weights.
 */
#ifndef ADAMOE_MODEL_H
#define ADAMOE_MODEL_H

#include "adamoe.h"

/* What a model is made of, where families of models differ. datasets/config.c alone derives it from
 * config.json; the forward passes, training and LoRA look here and do not know a family. The rest they have in
 * common: RMSNorm before attention and before the experts, rotary embedding of queries and keys in half-split
 * pairs, grouped-query attention without biases, SwiGLU experts. Mixtral has a router; Llama is the dense
 * case. */
typedef struct adamoe_architecture {
    bool dense;     /* no router and one expert, which every token has with weight 1 */
    bool tied_head; /* the head is the embedding */
} adamoe_architecture;

/* What may be asked of a model beside its forward pass, which knows every architecture. */
typedef enum adamoe_model_use {
    ADAMOE_USE_TRAINING,     /* derivatives with respect to its weights */
    ADAMOE_USE_LORA_EXPERTS, /* adapters with a router on the maps of each layer */
} adamoe_model_use;

/* BAD_INPUT that names what `use` does not know of the architecture. */
adamoe_status adamoe_architecture_check(const adamoe_architecture *architecture, adamoe_model_use use);

/* Tokens that may end a text; models that people have name up to five. */
#define ADAMOE_MOST_EOS 16

typedef struct adamoe_config {
    adamoe_architecture architecture;
    size_t vocab_size, hidden_size, intermediate_size, layers;
    size_t heads, key_value_heads, head_dim;
    size_t experts;      /* n; 1 for a dense model */
    size_t null_experts; /* m */
    adamoe_rule rule;    /* top_k, norm, null_kind */
    double rms_norm_eps, rope_theta;
    size_t sliding_window; /* keys a query sees, itself included; 0: all before it */
    size_t context;        /* max_position_embeddings */
    bool has_bos;
    uint32_t bos;
    size_t eos_count; /* tokens that end a text; none: 0 */
    uint32_t eos[ADAMOE_MOST_EOS];
} adamoe_config;

typedef struct adamoe_attention {
    adamoe_matrix q; /* [heads * head_dim, hidden_size] */
    adamoe_matrix k; /* [key_value_heads * head_dim, hidden_size] */
    adamoe_matrix v; /* as k */
    adamoe_matrix o; /* [hidden_size, heads * head_dim] */
} adamoe_attention;

typedef struct adamoe_block {
    adamoe_matrix input_norm, post_attention_norm; /* [1, hidden_size] */
    adamoe_attention attention;
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
    ADAMOE_WEIGHT_POST_ATTENTION_NORM,
    ADAMOE_WEIGHT_GATE,
    ADAMOE_WEIGHT_GATE2,
    ADAMOE_WEIGHT_W1,
    ADAMOE_WEIGHT_W3,
    ADAMOE_WEIGHT_W2,
    ADAMOE_WEIGHT_FINAL_NORM,
    ADAMOE_WEIGHT_HEAD,
    ADAMOE_WEIGHTS
} adamoe_weight;

/* Keys and values of one sequence, all layers, after rotary embedding: float32 [layers, capacity,
 * key_value_heads * head_dim]. Setting length to less forgets the tail: that is how choices share the cache
 * of their question. */
typedef struct adamoe_cache {
    size_t length, capacity;
    float *keys, *values;
} adamoe_cache;

adamoe_status adamoe_cache_create(const adamoe_config *config, size_t capacity, adamoe_cache **out);
void adamoe_cache_free(adamoe_cache *cache);

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

/*
 * What a model is made of, and its sizes.
 */
#ifndef ADAMOE_ARCHITECTURE_H
#define ADAMOE_ARCHITECTURE_H

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

#endif

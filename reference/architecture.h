/*
 * What a model is made of, and its sizes.
 */
#ifndef ADAMOE_ARCHITECTURE_H
#define ADAMOE_ARCHITECTURE_H

#include "adamoe.h"

/* RMSNorm of queries and keys, after their projection and before the rotary embedding. */
typedef enum adamoe_query_key_norm {
    ADAMOE_QUERY_KEY_NORM_NONE = 0,
    ADAMOE_QUERY_KEY_NORM_HEADS = 1, /* of each head by itself; all heads have one gain [head_dim] */
    ADAMOE_QUERY_KEY_NORM_WIDTH = 2, /* of all heads of a query together, and of all of a key */
} adamoe_query_key_norm;

/* How files name router and experts. */
typedef enum adamoe_tensor_naming {
    ADAMOE_NAMED_SPARSE, /* block_sparse_moe.gate.weight, block_sparse_moe.experts.{j}.w1.weight */
    ADAMOE_NAMED_FUSED,  /* mlp.gate.weight; the experts stand in two stacks, and have no name here */
    ADAMOE_NAMED_DENSE,  /* mlp.gate_proj.weight; no router */
    ADAMOE_NAMED_SINGLE, /* mlp.gate.weight, mlp.experts.{j}.gate_proj.weight */
    ADAMOE_NAMED_LINEAR, /* block_sparse_moe.router.layer.weight; files have two stacks, input_linear and output_linear */
    ADAMOE_TENSOR_NAMINGS
} adamoe_tensor_naming;

/* What a model is made of, where families of models differ (reference/README.md sections 8 and 8.2).
 * datasets/config/ alone derives it from config.json; the forward passes, training and LoRA look here and do not
 * know a family. The rest they have in common: RMSNorm before attention and before the experts, rotary embedding
 * of queries and keys in half-split pairs, grouped-query attention, SwiGLU experts. All 0 but for the naming is
 * Mixtral; Llama is the dense case. */
typedef struct adamoe_architecture {
    bool dense;     /* no router and one expert, which every token has with weight 1 */
    bool tied_head; /* the head is the embedding */
    adamoe_query_key_norm query_key_norm;
    bool biases;                 /* q, k and v have one each, which is added before their norm */
    bool output_bias;            /* o has one too */
    bool clipped;                /* queries, keys and values are cut to +-clip, after their norm */
    bool shared_expert;          /* one more that every token has, times sigmoid(shared_gate . x) */
    bool multipliers;            /* those of adamoe_config count */
    adamoe_tensor_naming naming; /* of a model with a router */
} adamoe_architecture;

/* Numbers that Granite multiplies by; others have none of them. */
typedef struct adamoe_multipliers {
    double embedding; /* a token's row of the embedding */
    double attention; /* query . key, in place of 1 / sqrt(head_dim) */
    double residual;  /* what attention and experts give, before it is added */
    double logits;    /* the logits of the head are divided by it */
} adamoe_multipliers;

/* What may be asked of a model beside its forward pass, which knows every architecture. */
typedef enum adamoe_model_use {
    ADAMOE_USE_TRAINING,     /* derivatives with respect to its weights */
    ADAMOE_USE_LORA_EXPERTS, /* adapters with a router on the maps of each layer */
} adamoe_model_use;

/* BAD_INPUT that names what `use` does not know of the architecture. */
adamoe_status adamoe_architecture_check(const adamoe_architecture *architecture, adamoe_model_use use);

/* How the frequencies of the rotary embedding are changed, so that a model reaches further than it was trained
 * for (reference/README.md section 8.1). */
typedef enum adamoe_rope_type {
    ADAMOE_ROPE_DEFAULT = 0, /* not at all */
    ADAMOE_ROPE_LINEAR = 1,
    ADAMOE_ROPE_LLAMA3 = 2,
} adamoe_rope_type;

typedef struct adamoe_rope_scaling {
    adamoe_rope_type type;
    double factor;                                      /* linear and llama3 */
    double low_frequency_factor, high_frequency_factor; /* llama3 */
    double original_context;                            /* llama3: the positions that it was trained for */
} adamoe_rope_scaling;

/* Tokens that may end a text; models that people have name up to five. */
#define ADAMOE_MOST_EOS 16

typedef struct adamoe_config {
    adamoe_architecture architecture;
    size_t vocab_size, hidden_size, intermediate_size, layers;
    size_t heads, key_value_heads, head_dim;
    size_t experts;                  /* n; 1 for a dense model */
    size_t null_experts;             /* m */
    adamoe_rule rule;                /* top_k, norm, null_kind */
    size_t shared_intermediate_size; /* of the shared expert, where there is one */
    adamoe_multipliers multiplier;
    double clip; /* of queries, keys and values, where the architecture has one */
    double rms_norm_eps, rope_theta;
    adamoe_rope_scaling rope_scaling;
    size_t sliding_window; /* keys a query sees, itself included; 0: all before it */
    size_t context;        /* max_position_embeddings */
    bool has_bos;
    uint32_t bos;
    size_t eos_count; /* tokens that end a text; none: 0 */
    uint32_t eos[ADAMOE_MOST_EOS];
} adamoe_config;

/* attention multiplier * sqrt(head_dim), or 1 where there are no multipliers: queries times this, so that scores,
 * which are divided by sqrt(head_dim), are as the architecture has them. */
double adamoe_query_multiplier(const adamoe_config *config);

#endif

/*
 * What the files of the network share; not for others.
 *
 * Rows are the tokens of all sequences in their order; T is their number, d the hidden size. A layer keeps
 * what its way back needs; a run that only scores has one layer's arrays, which serve all layers in turn.
 */
#ifndef ADAMOE_TRAIN_LORA_LORA_NETWORK_PARTS_H
#define ADAMOE_TRAIN_LORA_LORA_NETWORK_PARTS_H

#include "model/plan_build.h"
#include "model/route.h"
#include "model/rows.h"
#include "train/gemm.h"
#include "train/batch_memory.h"
#include "train/lora/lora_network.h"
#include "train/train_ops.h"
#include "vector/vector_ops.h"

/* A map's frozen weights as the kernel holds them. */
typedef struct network_frozen {
    adamoe_prepared_matrix *forward, *backward; /* W0 and, for training, its transpose */
} network_frozen;

/* What a map keeps. A place is one of a token's selected true experts, as in the plan. */
typedef struct network_map {
    adamoe_routing_space routing;
    adamoe_plan_space plan;
    float *h;        /* [places, rank] A x; on the way back weight * scale * A x */
    uint32_t *place; /* [rows of the plan] the place of a row */
} network_map;

/* Vectors of a layer's attention that the base has, or NULL. */
typedef struct network_vectors {
    float *q_bias, *k_bias, *v_bias, *o_bias, *q_norm, *k_norm;
} network_vectors;

typedef struct network_layer {
    float *attention_input;     /* [T, d] the residual */
    float *query, *key, *value; /* rotated, but for values */
    float *raw_query, *raw_key; /* before their norm; the same arrays where they have none */
    float *mixed;
    float *middle;    /* [T, d] the residual before the feed-forward layer */
    float *gate, *up; /* [T, intermediate_size]; on the way back their derivatives */
    network_map map[ADAMOE_MAPS];
} network_layer;

/* Arrays that serve one map or layer after the other. */
typedef struct network_arrays {
    float *output;              /* [T, d] the residual after the last layer */
    float *normed, *update;     /* [T, d] */
    float *hidden, *dhidden;    /* [T, intermediate_size] */
    float *dresidual, *dnormed; /* [T, d] */
    float *dquery, *dkey, *dvalue, *dmixed;
    float *draw;                         /* [T, the wider of query and key] before their norm */
    float *dh;                           /* [places, rank] */
    float *dlogits;                      /* [T, n + m] */
    float *thread_floats;                /* [threads, thread_room] */
    size_t *thread_rows;                 /* [threads, thread_room] */
    float *cosine, *sine, *minus_sine;   /* [longest, head_dim / 2] */
    float *shares;                       /* [threads, 2, longest] */
    float *final_normed, *dfinal_normed; /* [wanted, d] */
    float *head_logits;                  /* [head_rows, vocab_size] */
    size_t *position;                    /* [T] in its sequence */
    size_t *number;                      /* [T or n + m] 0, 1, 2, ... */
    uint32_t *wanted;                    /* [wanted] rows whose head is computed, ascending */
    size_t *first_goal;                  /* [wanted + 1] */
    uint32_t *goal;                      /* [goals] tokens whose log-probability is wanted */
    double *log_probability;             /* [goals] */
} network_arrays;

struct adamoe_lora_network {
    const adamoe_lora_parameters *parameters;
    const adamoe_model *base;
    const adamoe_config *config;
    adamoe_lora_sizes sizes;
    adamoe_lora_network_options with;
    const adamoe_vector_ops *ops;
    const adamoe_train_ops *train_ops;
    adamoe_gemm_space *gemm_space;
    adamoe_gemm *gemm;      /* [2 n + 1] */
    network_frozen *frozen; /* [layers, ADAMOE_MAPS] */
    network_frozen head;
    float *gain;                    /* [2 layers + 1, d] */
    network_vectors *vectors;       /* [layers] */
    float *vector_values;           /* what they point into */
    network_layer *layer;           /* [layers] */
    const adamoe_routing **routing; /* [layers, ADAMOE_MAPS] */
    double *slope;                  /* [layers, ADAMOE_MAPS, n + m] of the balance loss */
    adamoe_attention_call call;

    /* The batch at work. */
    bool keeps; /* every layer has arrays of its own */
    size_t tokens, sequences, longest, wanted, goals;
    size_t head_rows;   /* positions whose logits are held at a time */
    size_t thread_room; /* selected rows of a token at most */
    const size_t *offset;
    const uint32_t *token;
    adamoe_attention_span *span; /* [span_room] */
    size_t span_room;
    float *gradient; /* NULL: none is wanted */

    adamoe_batch_memory memory; /* cut into arrays anew for each batch */
    network_arrays at;
    adamoe_run run; /* workspace of products and attention */
};

static inline size_t network_all(const adamoe_lora_network *n)
{
    return n->sizes.experts + n->sizes.null_experts;
}

static inline network_layer *network_layer_at(const adamoe_lora_network *n, size_t layer)
{
    return &n->layer[n->keeps ? layer : 0];
}

static inline const float *network_gain(const adamoe_lora_network *n, size_t index)
{
    return n->gain + index * n->config->hidden_size;
}

/* What the base has behind its maps. From raw_query, raw_key and value, which are what the maps gave, to query, key and
 * value, which are not rotated yet; dquery and dkey back; and behind o. */
adamoe_status network_take_vectors(adamoe_lora_network *n);
void network_finish_inputs(const adamoe_lora_network *n, size_t layer, const network_layer *l);
void network_finish_inputs_backward(const adamoe_lora_network *n, size_t layer, const network_layer *l);
void network_finish_output(const adamoe_lora_network *n, size_t layer, float *update);

/* Frozen weights. `reserve` gives the workspace that the products of a batch need. */
adamoe_status network_freeze(adamoe_lora_network *n);
void network_thaw(adamoe_lora_network *n);
adamoe_status network_reserve(adamoe_lora_network *n);
adamoe_status network_multiply(adamoe_lora_network *n, adamoe_prepared_matrix *matrix, const float *x,
                               size_t rows, float *y);

/* Room for `sequences` spans, and all arrays for the sizes that are set. */
adamoe_status network_lay_out_spans(adamoe_lora_network *n, size_t sequences);
adamoe_status network_lay_out(adamoe_lora_network *n);

/* Calls compute for each row below `rows`, each by one thread. */
typedef void network_row(const adamoe_lora_network *n, size_t row, uint32_t thread, void *argument);
void network_each_row(const adamoe_lora_network *n, size_t rows, network_row *compute, void *argument);

/* normed[i] = RMSNorm of row list[i] of x, or of row i without a list. */
void network_norm(const adamoe_lora_network *n, size_t gain, const float *x, const uint32_t *list,
                  size_t rows, float *normed);
/* dresidual[list[i]] += through the norm from dnormed[i]. */
void network_norm_backward(const adamoe_lora_network *n, size_t gain, const float *x, const uint32_t *list,
                           size_t rows, const float *dnormed);
/* sum = a + b over [T, width]; sum may be a. */
void network_add(const adamoe_lora_network *n, const float *a, const float *b, size_t width, float *sum);

/* One map forward: y [T, out] from x [T, in]; its routing and h stay in the layer. */
adamoe_status network_map_forward(adamoe_lora_network *n, size_t layer, size_t map, const float *x, float *y);
/* And back: dx [T, in] is written from dy [T, out]; the gradient of its weights too. */
adamoe_status network_map_backward(adamoe_lora_network *n, size_t layer, size_t map, const float *x,
                                   const float *dy, float *dx);

adamoe_status network_attention_forward(adamoe_lora_network *n, size_t layer);
adamoe_status network_attention_backward(adamoe_lora_network *n, size_t layer);

/* Log-probabilities of all goals; with a gradient, dresidual from the mean over goals of -log p. */
adamoe_status network_head(adamoe_lora_network *n);

#endif

/*
 * The tensors of a model: one table of what a file calls them, how large they are, which models have them and
 * which field of the model they fill. Whoever reads, writes, draws, lays out or differentiates the weights of
 * a model walks it, so that a tensor is added here and in the structures of model.h.
 *
 * Left out: how a file is read (datasets/), and tensors that hold the matrices of several experts
 * (datasets/layer_weights.h).
 */
#ifndef ADAMOE_TENSORS_H
#define ADAMOE_TENSORS_H

#include "model.h"

/* Kinds of weights, as sets: what is trained is a sum of them. */
enum {
    ADAMOE_EMBEDDING = 1u << 0, /* and the head, where it is tied */
    ADAMOE_HEAD = 1u << 1,
    ADAMOE_GAINS = 1u << 2, /* of RMSNorm; they are vectors, and not decayed */
    ADAMOE_ATTENTION = 1u << 3,
    ADAMOE_ROUTER = 1u << 4,
    ADAMOE_EXPERTS = 1u << 5,
    ADAMOE_BIASES = 1u << 6,        /* vectors as well */
    ADAMOE_SHARED_EXPERT = 1u << 7, /* and its gate */
    ADAMOE_ALL_PARAMETERS = (1u << 8) - 1u,
};

/* What one tensor belongs to. */
typedef enum adamoe_tensor_scope {
    ADAMOE_TENSOR_OF_MODEL,
    ADAMOE_TENSOR_OF_LAYER,
    ADAMOE_TENSOR_OF_EXPERT,
} adamoe_tensor_scope;

typedef struct adamoe_model_tensor {
    adamoe_weight weight;
    adamoe_tensor_scope scope;
    size_t layer, expert; /* 0 where the scope has none */
    unsigned kind;        /* one of the above */
    bool to_residual;     /* what it gives is added to the residual */
    size_t rank;          /* 1 for a vector, otherwise 2 */
    size_t rows, columns; /* rows of 1 for a vector; 0 for a gate2 of a model without null experts */
} adamoe_model_tensor;

/* Whether models of this config have the weight as a tensor of its own. A head that is tied has none; a dense
 * model has no gates. */
bool adamoe_has_weight(const adamoe_config *config, adamoe_weight weight);

adamoe_tensor_scope adamoe_weight_scope(adamoe_weight weight);

/* The tensor of a weight that models of this config have; `layer` and `expert` count where the scope has
 * them. */
adamoe_model_tensor adamoe_tensor_of(const adamoe_config *config, adamoe_weight weight, size_t layer,
                                     size_t expert);

/* Of all tensors; in double, so that a count that overflows is seen to be too large. */
typedef struct adamoe_tensor_totals {
    double tensors, elements;
} adamoe_tensor_totals;

adamoe_tensor_totals adamoe_count_tensors(const adamoe_config *config);

/* ------------------------------------------------------------------------------------------------- walking */

/* Begin with {.config = ...}; adamoe_next_tensor gives one tensor after the other and, at the end, false. The
 * order is that of files and of training states: the embedding; layer by layer the norm, q, k, v and o, their
 * biases and norms, the second norm, the gates, the shared expert, and expert by expert w1, w3 and w2; the final
 * norm; the head. */
typedef struct adamoe_tensor_walk {
    const adamoe_config *config;
    size_t weight, layer, expert; /* what comes next */
} adamoe_tensor_walk;

bool adamoe_next_tensor(adamoe_tensor_walk *walk, adamoe_model_tensor *out);

/* --------------------------------------------------------------------------------------------------- names */

/* The names that files of such a model are written with. */
adamoe_tensor_naming adamoe_naming_of(const adamoe_config *config);

typedef struct adamoe_tensor_name {
    char text[128];
} adamoe_tensor_name;

/* "model.layers.3.self_attn.q_proj.weight"; `front` is "model." or "", and nothing stands before the head. */
adamoe_tensor_name adamoe_name_of_tensor(const adamoe_model_tensor *tensor, adamoe_tensor_naming naming,
                                         const char *front);

/* The name of a weight of a layer, or of one of its experts, behind the layer's own prefix, which is short:
 * "model.layers.3." or "". */
adamoe_tensor_name adamoe_name_in_layer(const char *prefix, adamoe_tensor_naming naming, adamoe_weight weight,
                                        size_t expert);

/* -------------------------------------------------------------------------------------------------- places */

/* A model together with the arrays that its views stand in, for whoever fills it. */
typedef struct adamoe_weights {
    adamoe_model model;    /* its block is `block` */
    adamoe_block *block;   /* [layers] */
    adamoe_expert *expert; /* [layers, n] what the blocks point into */
} adamoe_weights;

/* Arrays for a config, and the sizes of every layer set; matrices are empty. Errors: memory. */
adamoe_status adamoe_weights_create(const adamoe_config *config, adamoe_weights *out);
void adamoe_weights_free(adamoe_weights *weights);

/* The sizes of a layer's expert part from weights->model.config; its gates have no rows. */
void adamoe_weights_begin_layer(adamoe_weights *weights, size_t layer);

/* The field that a tensor fills. */
adamoe_matrix *adamoe_weights_at(adamoe_weights *weights, const adamoe_model_tensor *tensor);

/* The same of a model that is only read. */
const adamoe_matrix *adamoe_model_at(const adamoe_model *model, const adamoe_model_tensor *tensor);

#endif

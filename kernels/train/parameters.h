/*
 * The weights of a model that is trained: float32, in one array, so that an optimiser, a norm or a file can
 * run through them; their names; and the model as a view of them. A gradient, or an optimiser's moment, is
 * an array of the same layout.
 */
#ifndef ADAMOE_TRAIN_PARAMETERS_H
#define ADAMOE_TRAIN_PARAMETERS_H

#include "model.h"

/* Kinds of weights, as sets: what is trained is a sum of them. */
enum {
    ADAMOE_EMBEDDING = 1u << 0, /* and the head, where it is tied */
    ADAMOE_HEAD = 1u << 1,
    ADAMOE_GAINS = 1u << 2, /* of RMSNorm; not decayed */
    ADAMOE_ATTENTION = 1u << 3,
    ADAMOE_ROUTER = 1u << 4,
    ADAMOE_EXPERTS = 1u << 5,
    ADAMOE_ALL_PARAMETERS = (1u << 6) - 1u,
};

typedef struct adamoe_parameter {
    char name[128];       /* as in reference/README.md section 8 */
    unsigned kind;        /* one of the above */
    size_t first;         /* where it begins in the array */
    size_t rank;          /* 1 for a gain, otherwise 2 */
    size_t rows, columns; /* rows of 1 for a gain; 0 for a gate2 of a model without null experts */
} adamoe_parameter;

/* Where the weights of a layer begin in the array. gate2 follows gate, so that both are one matrix
 * [n + m, hidden_size]; an expert is w1, w3 and w2, and experts follow one another. */
typedef struct adamoe_parameter_block {
    size_t input_norm, q, k, v, o, post_attention_norm, gate, gate2, experts;
} adamoe_parameter_block;

typedef struct adamoe_parameters {
    size_t count; /* floats */
    float *value; /* [count] */
    size_t parameters;
    adamoe_parameter *parameter; /* [parameters], in the order of the array, without gaps */
    size_t embedding, final_norm, head;
    adamoe_parameter_block *block; /* [layers] */
    adamoe_model model;            /* views of value; its config has the sizes */
} adamoe_parameters;

/* All 0. Errors: more elements than memory can address; memory. */
adamoe_status adamoe_parameters_create(const adamoe_config *config, adamoe_parameters **out);
void adamoe_parameters_free(adamoe_parameters *parameters);

/* value = the weights of a model of the same sizes, widened. */
void adamoe_parameters_copy(adamoe_parameters *parameters, const adamoe_model *model);

/* value = a start from scratch: gains 1, gate2 = copies of gate's rows where m is a multiple of n
 * (reference/README.md section 2.1), all other weights uniform with deviation `deviation`, a generator for
 * each matrix, those of o and w2 divided by sqrt(2 layers) as in GPT-2, so that the residual does not grow
 * with depth. A seed gives the same bits on every machine. */
void adamoe_parameters_initialise(adamoe_parameters *parameters, uint64_t seed, double deviation);

/* Floats of one expert, and where its w2 begins after w1 and w3. */
static inline size_t adamoe_expert_floats(const adamoe_config *config)
{
    return 3 * config->hidden_size * config->intermediate_size;
}

#endif

/*
 * The weights of a model that is trained: float32, in one array, so that an optimiser, a norm or a file can
 * run through them; their names; and the model as a view of them. A gradient, or an optimiser's moment, is
 * an array of the same layout.
 */
#ifndef ADAMOE_TRAIN_PARAMETERS_H
#define ADAMOE_TRAIN_PARAMETERS_H

#include "tensors.h"

typedef struct adamoe_parameter {
    char name[128];       /* as in reference/README.md section 8 */
    unsigned kind;        /* ADAMOE_EMBEDDING ... ADAMOE_EXPERTS */
    size_t first;         /* where it begins in the array */
    size_t rank;          /* 1 for a vector, otherwise 2 */
    size_t rows, columns; /* rows of 1 for a vector; 0 for a gate2 of a model without null experts */
} adamoe_parameter;

/* The array holds the tensors in the order of adamoe_next_tensor, without gaps, so that gate2 follows gate and
 * both are one matrix [n + m, hidden_size]. */
typedef struct adamoe_parameters {
    size_t count; /* floats */
    float *value; /* [count] */
    size_t parameters;
    adamoe_parameter *parameter; /* [parameters], in the order of the array */
    adamoe_model model;          /* views of value; its config has the sizes */
} adamoe_parameters;

/* Where the floats that a matrix of `model` views begin in the array; a gradient has that matrix's there. */
static inline size_t adamoe_parameter_place(const adamoe_parameters *parameters, const adamoe_matrix *matrix)
{
    return (size_t)((const float *)matrix->data - parameters->value);
}

/* All 0. Errors: more elements than memory can address; memory. */
adamoe_status adamoe_parameters_create(const adamoe_config *config, adamoe_parameters **out);
void adamoe_parameters_free(adamoe_parameters *parameters);

/* value = the weights of a model of the same sizes, widened. */
void adamoe_parameters_copy(adamoe_parameters *parameters, const adamoe_model *model);

/* gate2 of every layer = copies of gate's rows, where m is a multiple of n; else nothing (0 after a copy). */
void adamoe_parameters_copy_gates(adamoe_parameters *parameters);

/* value = a start from scratch: gains 1, biases 0, gate2 = copies of gate's rows where m is a multiple of n
 * (reference/README.md section 2.1), all other weights uniform with deviation `deviation`, a generator for
 * each matrix, those of o and w2 divided by sqrt(2 layers) as in GPT-2, so that the residual does not grow
 * with depth. A seed gives the same bits on every machine. */
void adamoe_parameters_initialise(adamoe_parameters *parameters, uint64_t seed, double deviation);

#endif

/*
 * Low-rank adapters (Hu et al. 2022): W = W0 + (alpha / rank) B A with W0 frozen, A [rank, columns] and
 * B [rows, rank]. The weights that the model computes with are merged anew for each step, so that training
 * computes exactly what is exported; the gradient of an adapter follows from that of its merged matrix.
 *
 * That costs the full gradient of the adapted matrices, whose products have as many terms as there are
 * tokens; what is saved is the optimiser's memory. Left out: dropout, and quantised W0.
 */
#ifndef ADAMOE_TRAIN_LORA_LORA_H
#define ADAMOE_TRAIN_LORA_LORA_H

#include "train/parameters.h"

typedef struct adamoe_lora adamoe_lora;

/* Adapters for the matrices of the kinds in `adapted` (gains have none), whose present values become W0. A is
 * uniform within +-1 / sqrt(columns), B is 0, so that training starts from W0. `parameters` and the team must
 * outlive *out. Errors: BAD_INPUT for a rank of 0 or no matrix to adapt; memory. */
adamoe_status adamoe_lora_create(adamoe_parameters *parameters, const adamoe_team *team, unsigned adapted,
                                 size_t rank, double alpha, uint64_t seed, adamoe_lora **out);
void adamoe_lora_free(adamoe_lora *lora);

/* All adapters in one array [count], A and B of each matrix in turn: what an optimiser trains. */
float *adamoe_lora_values(adamoe_lora *lora, size_t *count);

/* parameters->value = W0 + (alpha / rank) B A for the adapted matrices. */
void adamoe_lora_merge(adamoe_lora *lora);

/* The gradient of the adapters [count] from that of the merged weights, after adamoe_lora_merge:
 *   dA = (alpha / rank) B^T dW,  dB = (alpha / rank) dW A^T. */
void adamoe_lora_gradient(adamoe_lora *lora, const float *gradient, float *adapters);

#endif

/*
 * The data of a check's case: weights, inputs and plan, made from the case's name and a seed alone.
 */
#ifndef ADAMOE_CHECK_TIERS_DATA_H
#define ADAMOE_CHECK_TIERS_DATA_H

#include "check/cases/cases.h"
#include "layers/random_layer.h"

/* Weights begin at an odd address, as they may in a mapped file, and x at a multiple of 4 but not of 8. */
typedef struct adamoe_case_data {
    float *x; /* [tokens, hidden_size or columns] */
    void *x_memory;
    float *dy; /* [tokens, hidden_size] of a gradient, otherwise NULL */
    /* of experts */
    adamoe_random_layer layer;
    adamoe_plan *plan;
    /* of a dense product: row r >= distinct equals row r - distinct, up to the last one */
    adamoe_matrix matrix;
    unsigned char *matrix_memory;
    size_t distinct;
} adamoe_case_data;

/* Of experts, of their gradient, of a dense product. Errors: memory. On failure nothing is left allocated. */
adamoe_status adamoe_experts_data_create(const adamoe_case *c, uint64_t seed, adamoe_case_data *out);
adamoe_status adamoe_gradient_data_create(const adamoe_case *c, uint64_t seed, adamoe_case_data *out);
adamoe_status adamoe_multiply_data_create(const adamoe_case *c, uint64_t seed, adamoe_case_data *out);
void adamoe_case_data_free(adamoe_case_data *data);

#endif

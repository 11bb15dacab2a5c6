/*
 * Small random models of different shapes, made in memory: for the tier `model` of `adamoe check`.
 */
#ifndef ADAMOE_CHECK_CASES_MODELS_H
#define ADAMOE_CHECK_CASES_MODELS_H

#include "splitmix64.h"
#include "tensors.h"

#define ADAMOE_CHECK_MODELS 14

/* What each is there for: "grouped-heads", ... The last one has a NaN in a router's weights. */
extern const char *const adamoe_check_model_names[ADAMOE_CHECK_MODELS];

typedef struct adamoe_check_model {
    adamoe_weights weights; /* views of the values */
    float *value;           /* [count] of all tensors */
    size_t count;
} adamoe_check_model;

/* The seed alone decides the weights. Errors: memory. */
adamoe_status adamoe_check_model_create(size_t index, uint64_t seed, adamoe_check_model *out);

/* Another model of the same shape, every weight times 1 + g sqrt(2 K u^2 + 2 r^2) with g normal, K the
 * columns of its matrix, u float32's roundoff and r = operand_roundoff: what rounding does to a sum of K
 * terms and to its two operands, done to one factor. Errors: memory. */
adamoe_status adamoe_check_model_perturbed(size_t index, const adamoe_check_model *from,
                                           adamoe_splitmix64 *random, double operand_roundoff,
                                           adamoe_check_model *out);

void adamoe_check_model_free(adamoe_check_model *model);

#endif

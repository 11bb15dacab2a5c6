/*
 * The trained weights of a model with LoRA experts: float32, in one array, so that an optimiser, a norm or a
 * file can run through them; their names; and the model as a view of them.
 */
#ifndef ADAMOE_TRAIN_LORA_LORA_PARAMETERS_H
#define ADAMOE_TRAIN_LORA_LORA_PARAMETERS_H

#include "lora/lora_model.h"

/* A matrix of one map: "model.layers.0.self_attn.q_proj.lora_router", ".lora_A" or ".lora_B", in the shapes
 * of reference/lora/lora_experts.h. */
typedef struct adamoe_lora_tensor {
    char name[96];
    size_t first, rows, columns; /* where it begins in the array */
} adamoe_lora_tensor;

/* Where the matrices of a map begin; for plain LoRA `router` is `a`. */
typedef struct adamoe_lora_place {
    size_t router, a, b;
} adamoe_lora_place;

typedef struct adamoe_lora_parameters {
    size_t count; /* floats */
    float *value; /* [count] */
    size_t tensors;
    adamoe_lora_tensor *tensor; /* [tensors], in the order of the array, without gaps */
    adamoe_lora_place *place;   /* [layers, ADAMOE_MAPS] */
    adamoe_lora_model model;    /* views of value and of the base */
} adamoe_lora_parameters;

/* All 0. The base must outlive *out. Errors: as adamoe_lora_sizes_check; memory. */
adamoe_status adamoe_lora_parameters_create(const adamoe_model *base, const adamoe_lora_sizes *sizes,
                                            adamoe_lora_parameters **out);
void adamoe_lora_parameters_free(adamoe_lora_parameters *parameters);

/* value = the start of a training: A and the routers uniform within +-1 / sqrt(in), a generator for each, and
 * B = 0, so that the model computes what its base does. A seed gives the same bits on every machine. */
void adamoe_lora_parameters_initialise(adamoe_lora_parameters *parameters, uint64_t seed);

#endif

/*
 * The arrays of a model's gradient: one piece of memory, cut up in the order in which the model's tensors are
 * walked.
 */
#include "gradient/gradient_model.h"
#include "tensors.h"

#include <stdlib.h>

#define OF_MODEL(field)  offsetof(adamoe_model_gradient, field)
#define OF_LAYER(field)  offsetof(adamoe_block_gradient, field)
#define OF_EXPERT(field) offsetof(adamoe_expert_gradient, field)

/* The field for the gradient of each weight, as its offset in the structure of the weight's scope. */
static const size_t field[ADAMOE_WEIGHTS] = {
    [ADAMOE_WEIGHT_EMBEDDING] = OF_MODEL(embedding),
    [ADAMOE_WEIGHT_INPUT_NORM] = OF_LAYER(input_norm),
    [ADAMOE_WEIGHT_Q] = OF_LAYER(attention.q),
    [ADAMOE_WEIGHT_K] = OF_LAYER(attention.k),
    [ADAMOE_WEIGHT_V] = OF_LAYER(attention.v),
    [ADAMOE_WEIGHT_O] = OF_LAYER(attention.o),
    [ADAMOE_WEIGHT_Q_BIAS] = OF_LAYER(attention.q_bias),
    [ADAMOE_WEIGHT_K_BIAS] = OF_LAYER(attention.k_bias),
    [ADAMOE_WEIGHT_V_BIAS] = OF_LAYER(attention.v_bias),
    [ADAMOE_WEIGHT_O_BIAS] = OF_LAYER(attention.o_bias),
    [ADAMOE_WEIGHT_Q_NORM] = OF_LAYER(attention.q_norm),
    [ADAMOE_WEIGHT_K_NORM] = OF_LAYER(attention.k_norm),
    [ADAMOE_WEIGHT_POST_ATTENTION_NORM] = OF_LAYER(post_attention_norm),
    [ADAMOE_WEIGHT_GATE] = OF_LAYER(moe.gate),
    [ADAMOE_WEIGHT_GATE2] = OF_LAYER(moe.gate2),
    [ADAMOE_WEIGHT_SHARED_W1] = OF_LAYER(shared.expert.w1),
    [ADAMOE_WEIGHT_SHARED_W3] = OF_LAYER(shared.expert.w3),
    [ADAMOE_WEIGHT_SHARED_W2] = OF_LAYER(shared.expert.w2),
    [ADAMOE_WEIGHT_SHARED_GATE] = OF_LAYER(shared.gate),
    [ADAMOE_WEIGHT_W1] = OF_EXPERT(w1),
    [ADAMOE_WEIGHT_W3] = OF_EXPERT(w3),
    [ADAMOE_WEIGHT_W2] = OF_EXPERT(w2),
    [ADAMOE_WEIGHT_FINAL_NORM] = OF_MODEL(final_norm),
    [ADAMOE_WEIGHT_HEAD] = OF_MODEL(head),
};

static double **field_of(adamoe_model_gradient *gradient, const adamoe_config *config,
                         const adamoe_model_tensor *tensor)
{
    void *const owner[] = {
        [ADAMOE_TENSOR_OF_MODEL] = gradient,
        [ADAMOE_TENSOR_OF_LAYER] = gradient->block + tensor->layer,
        [ADAMOE_TENSOR_OF_EXPERT] = gradient->expert + tensor->layer * config->experts + tensor->expert,
    };
    return (double **)(void *)((char *)owner[tensor->scope] + field[tensor->weight]);
}

/* A weight that the model does not have gets an array without elements. */
static void cut(const adamoe_config *config, adamoe_model_gradient *gradient)
{
    double *at = gradient->values;
    adamoe_model_tensor tensor;
    for (size_t layer = 0; layer < config->layers; ++layer) {
        adamoe_layer_gradient *moe = &gradient->block[layer].moe;
        moe->gate = moe->gate2 = at;
        moe->expert = gradient->expert + layer * config->experts;
    }
    for (adamoe_tensor_walk walk = {.config = config}; adamoe_next_tensor(&walk, &tensor);) {
        *field_of(gradient, config, &tensor) = at;
        at += tensor.rows * tensor.columns;
    }
    gradient->head = config->architecture.tied_head ? gradient->embedding : gradient->head;
}

adamoe_status adamoe_model_gradient_create(const adamoe_config *config, adamoe_model_gradient **out)
{
    ADAMOE_TRY(adamoe_architecture_check(&config->architecture, ADAMOE_USE_TRAINING));
    adamoe_model_gradient *gradient = calloc(1, sizeof *gradient);
    const adamoe_tensor_totals totals = adamoe_count_tensors(config);
    if (gradient != NULL && totals.elements < (double)SIZE_MAX / (2.0 * sizeof *gradient->values)) {
        gradient->count = (size_t)totals.elements;
        gradient->block =
            calloc(config->layers + 1, sizeof *gradient->block); /* + 1: calloc(0) may give NULL */
        gradient->expert = calloc(config->layers * config->experts + 1, sizeof *gradient->expert);
        gradient->values = calloc(gradient->count + 1, sizeof *gradient->values);
    }
    if (gradient == NULL || gradient->block == NULL || gradient->expert == NULL || gradient->values == NULL) {
        adamoe_model_gradient_free(gradient);
        return adamoe_error(ADAMOE_ENVIRONMENT, "gradient: out of memory for the weights of the model");
    }
    cut(config, gradient);
    *out = gradient;
    return adamoe_ok();
}

void adamoe_model_gradient_free(adamoe_model_gradient *gradient)
{
    if (gradient != NULL) {
        free(gradient->values);
        free(gradient->expert);
        free(gradient->block);
        free(gradient);
    }
}

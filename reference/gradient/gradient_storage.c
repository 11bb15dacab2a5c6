/*
 * The arrays of a model's gradient: one piece of memory, cut up in the order of the model's matrices.
 */
#include "gradient/gradient_model.h"

#include <stdlib.h>

/* What is cut off next; without `values` it only counts. */
typedef struct cutter {
    double *values;
    size_t count;
    bool overflow;
} cutter;

static double *cut(cutter *c, size_t rows, size_t columns)
{
    size_t size;
    double *at = c->values == NULL ? NULL : c->values + c->count;
    c->overflow = c->overflow || __builtin_mul_overflow(rows, columns, &size) ||
                  __builtin_add_overflow(c->count, size, &c->count);
    return at;
}

static void cut_block(const adamoe_config *config, cutter *c, adamoe_block_gradient *block,
                      adamoe_expert_gradient *expert)
{
    const size_t d = config->hidden_size, ff = config->intermediate_size;
    const size_t q = config->heads * config->head_dim, kv = config->key_value_heads * config->head_dim;
    block->input_norm = cut(c, 1, d);
    block->post_attention_norm = cut(c, 1, d);
    block->attention.q = cut(c, q, d);
    block->attention.k = cut(c, kv, d);
    block->attention.v = cut(c, kv, d);
    block->attention.o = cut(c, d, q);
    block->moe.gate = cut(c, config->dense ? 0 : config->experts, d);
    block->moe.gate2 = cut(c, config->null_experts, d);
    block->moe.expert = expert;
    for (size_t e = 0; e < config->experts; ++e) {
        expert[e].w1 = cut(c, ff, d);
        expert[e].w3 = cut(c, ff, d);
        expert[e].w2 = cut(c, d, ff);
    }
}

static void cut_all(const adamoe_config *config, cutter *c, adamoe_model_gradient *gradient)
{
    gradient->embedding = cut(c, config->vocab_size, config->hidden_size);
    for (size_t layer = 0; layer < config->layers; ++layer) {
        cut_block(config, c, &gradient->block[layer], gradient->expert + layer * config->experts);
    }
    gradient->final_norm = cut(c, 1, config->hidden_size);
    gradient->head =
        config->tied_head ? gradient->embedding : cut(c, config->vocab_size, config->hidden_size);
}

adamoe_status adamoe_model_gradient_create(const adamoe_config *config, adamoe_model_gradient **out)
{
    adamoe_model_gradient *gradient = calloc(1, sizeof *gradient);
    if (gradient != NULL) {
        cutter c = {.values = NULL};
        gradient->block =
            calloc(config->layers + 1, sizeof *gradient->block); /* + 1: calloc(0) may give NULL */
        gradient->expert = calloc(config->layers * config->experts + 1, sizeof *gradient->expert);
        if (gradient->block != NULL && gradient->expert != NULL) {
            cut_all(config, &c, gradient);
            gradient->count = c.count;
            gradient->values = c.overflow ? NULL : calloc(c.count + 1, sizeof *gradient->values);
        }
    }
    if (gradient == NULL || gradient->values == NULL) {
        adamoe_model_gradient_free(gradient);
        return adamoe_error(ADAMOE_ENVIRONMENT, "gradient: out of memory for the weights of the model");
    }
    cutter c = {.values = gradient->values};
    cut_all(config, &c, gradient);
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

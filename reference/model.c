/*
 * The whole model, one sequence at a time: reference/README.md section 8. Batches of sequences are in
 * kernels/.
 */
#include "model.h"
#include "layer.h"
#include "router.h"
#include "plan.h"
#include "norm.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The states of count tokens while they pass through the layers. */
typedef struct activations {
    size_t count;
    float *residual, *normed, *update; /* [count, hidden_size] */
    double *work;                      /* of an expert layer, and of the head */
} activations;

/* Of a shared expert: its input, its output, and what it needs itself. */
static size_t shared_work(const adamoe_config *config)
{
    return 2 * config->hidden_size +
           adamoe_expert_work(config->hidden_size, config->shared_intermediate_size);
}

static size_t work_doubles(const adamoe_model *model)
{
    const size_t layer = adamoe_layer_work(&model->block[0].moe); /* all layers have the same sizes */
    const size_t head = adamoe_model_head_work(&model->config);
    const size_t shared = shared_work(&model->config), larger = layer > head ? layer : head;
    return larger > shared ? larger : shared;
}

static void free_activations(activations *a)
{
    free(a->residual);
    free(a->normed);
    free(a->update);
    free(a->work);
}

static adamoe_status allocate_activations(const adamoe_model *model, size_t count, activations *a)
{
    const size_t size = count * model->config.hidden_size + 1;
    *a = (activations){.count = count,
                       .residual = calloc(size, sizeof *a->residual),
                       .normed = calloc(size, sizeof *a->normed),
                       .update = calloc(size, sizeof *a->update),
                       .work = calloc(work_doubles(model), sizeof *a->work)};
    if (a->residual == NULL || a->normed == NULL || a->update == NULL || a->work == NULL) {
        free_activations(a);
        return adamoe_error(ADAMOE_ENVIRONMENT, "model: out of memory for %zu tokens", count);
    }
    return adamoe_ok();
}

static void add_update(const adamoe_config *config, activations *a)
{
    const double multiplier = config->architecture.multipliers ? config->multiplier.residual : 1.0;
    for (size_t i = 0; i < a->count * config->hidden_size; ++i) {
        a->residual[i] = (float)((double)a->residual[i] + multiplier * (double)a->update[i]);
    }
}

/* update += sigmoid(shared_gate . x) * E(x) with the shared expert E, for every token. */
static void add_shared_expert(const adamoe_model *model, size_t layer, activations *a)
{
    const adamoe_block *block = &model->block[layer];
    const size_t d = model->config.hidden_size;
    double *x = a->work, *y = x + d, *expert_work = y + d;
    for (size_t t = 0; t < a->count; ++t) {
        double gate = 0.0;
        for (size_t c = 0; c < d; ++c) {
            x[c] = (double)a->normed[t * d + c];
            gate += adamoe_matrix_at(&block->shared_gate, 0, c) * x[c];
        }
        adamoe_expert_forward(&block->shared, adamoe_float32_operands, x, y, expert_work);
        for (size_t c = 0; c < d; ++c) {
            a->update[t * d + c] = (float)((double)a->update[t * d + c] + y[c] / (1.0 + exp(-gate)));
        }
    }
}

static adamoe_status in_layer(size_t layer, adamoe_status status)
{
    return status.code == ADAMOE_OK ? status
                                    : adamoe_error(status.code, "layer %zu: %.400s", layer, status.message);
}

/* A dense layer is a plan that gives every token to expert 0 with weight 1: its one logit is 0. */
static adamoe_status route(const adamoe_model *model, size_t layer, const float *x, size_t count,
                           const adamoe_observer *observer, adamoe_plan **plan)
{
    const adamoe_layer *moe = &model->block[layer].moe;
    float *logits = calloc(count * (moe->experts + moe->null_experts) + 1, sizeof *logits);
    if (logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory for %zu tokens", count);
    }
    adamoe_router_logits(moe, x, count, logits);
    adamoe_routing *routing = NULL;
    const adamoe_status status =
        adamoe_routing_create(logits, count, moe->experts, moe->null_experts, model->config.rule, &routing);
    free(logits);
    if (status.code != ADAMOE_OK) {
        return status;
    }
    if (observer != NULL && !model->config.architecture.dense) {
        observer->routed(observer->context, layer, routing);
    }
    const adamoe_status planned = adamoe_plan_create(routing, plan);
    adamoe_routing_free(routing);
    return planned;
}

/* x += attention(norm(x)); x += experts(norm(x)) */
static adamoe_status block_forward(const adamoe_model *model, size_t layer, adamoe_cache *cache,
                                   const adamoe_observer *observer, activations *a)
{
    const adamoe_config *config = &model->config;
    const adamoe_block *block = &model->block[layer];
    adamoe_rms_norm(&block->input_norm, config->rms_norm_eps, a->residual, a->count, a->normed);
    ADAMOE_TRY(in_layer(layer, adamoe_attention_forward(config, &block->attention, layer, cache, a->normed,
                                                        a->count, a->update)));
    add_update(config, a);

    adamoe_plan *plan = NULL;
    adamoe_rms_norm(&block->post_attention_norm, config->rms_norm_eps, a->residual, a->count, a->normed);
    ADAMOE_TRY(in_layer(layer, route(model, layer, a->normed, a->count, observer, &plan)));
    adamoe_layer_forward(&block->moe, adamoe_float32_operands, a->normed, plan, a->update, a->work);
    adamoe_plan_free(plan);
    if (config->architecture.shared_expert) {
        add_shared_expert(model, layer, a);
    }
    add_update(config, a);
    return adamoe_ok();
}

size_t adamoe_model_head_work(const adamoe_config *config)
{
    return 2 * config->hidden_size + config->vocab_size;
}

adamoe_status adamoe_model_head(const adamoe_model *model, const float *hidden, size_t token, float *logits,
                                double *work)
{
    adamoe_matrix_vector_float(&model->head, hidden + token * model->config.hidden_size, logits, work);
    for (size_t v = 0; v < model->config.vocab_size; ++v) {
        if (model->config.architecture.multipliers) {
            logits[v] = (float)((double)logits[v] / model->config.multiplier.logits);
        }
        if (!isfinite(logits[v])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "head: token %zu: logit of vocabulary entry %zu is %s",
                                token, v, isnan(logits[v]) ? "NaN" : "infinite");
        }
    }
    return adamoe_ok();
}

static adamoe_status check_call(const adamoe_model *model, const adamoe_cache *cache, const uint32_t *tokens,
                                size_t count)
{
    if (count > cache->capacity - cache->length) {
        return adamoe_error(ADAMOE_BAD_INPUT, "model: %zu tokens after %zu do not fit into a cache for %zu",
                            count, cache->length, cache->capacity);
    }
    for (size_t t = 0; t < count; ++t) {
        if (tokens[t] >= model->config.vocab_size) {
            return adamoe_error(ADAMOE_BAD_INPUT, "model: token %zu: id %u is outside the vocabulary of %zu",
                                t, tokens[t], model->config.vocab_size);
        }
    }
    return adamoe_ok();
}

static adamoe_status forward(const adamoe_model *model, adamoe_cache *cache, const uint32_t *tokens,
                             const adamoe_observer *observer, activations *a, float *logits)
{
    const size_t d = model->config.hidden_size;
    const double multiplier =
        model->config.architecture.multipliers ? model->config.multiplier.embedding : 1.0;
    for (size_t t = 0; t < a->count; ++t) {
        for (size_t c = 0; c < d; ++c) {
            a->residual[t * d + c] = (float)(multiplier * adamoe_matrix_at(&model->embedding, tokens[t], c));
        }
    }
    for (size_t layer = 0; layer < model->config.layers; ++layer) {
        ADAMOE_TRY(block_forward(model, layer, cache, observer, a));
    }
    adamoe_rms_norm(&model->final_norm, model->config.rms_norm_eps, a->residual, a->count, a->normed);
    for (size_t t = 0; t < a->count && logits != NULL; ++t) {
        ADAMOE_TRY(adamoe_model_head(model, a->normed, t, logits + t * model->config.vocab_size, a->work));
    }
    return adamoe_ok();
}

adamoe_status adamoe_model_forward(const adamoe_model *model, adamoe_cache *cache, const uint32_t *tokens,
                                   size_t count, const adamoe_observer *observer, float *hidden,
                                   float *logits)
{
    activations a;
    ADAMOE_TRY(check_call(model, cache, tokens, count));
    ADAMOE_TRY(allocate_activations(model, count, &a));
    const adamoe_status status = forward(model, cache, tokens, observer, &a, logits);
    if (status.code == ADAMOE_OK) {
        cache->length += count;
        if (hidden != NULL) {
            memcpy(hidden, a.normed, count * model->config.hidden_size * sizeof *hidden);
        }
    }
    free_activations(&a);
    return status;
}

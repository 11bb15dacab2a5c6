/*
 * The loss of a model and its gradient: embedding, layers, head, and back.
 */
#include "model/span_attention.h"
#include "train/gemm_tiles.h"
#include "train/model/backprop_parts.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "training: out of memory");
}

static adamoe_status allocate(adamoe_backprop *b)
{
    const adamoe_config *c = b->config;
    const size_t all = c->experts + c->null_experts, products = 3 * c->experts + 8;
    b->gemm = calloc(products, sizeof *b->gemm);
    b->expert = calloc(c->experts, sizeof *b->expert);
    b->expert_gradient = calloc(c->experts, sizeof *b->expert_gradient);
    b->layer = calloc(c->layers + 1, sizeof *b->layer); /* + 1: calloc(0) may give NULL */
    b->routing = calloc(c->layers + 1, sizeof *b->routing);
    b->slope = calloc(c->layers * all + 1, sizeof *b->slope);
    b->probability_sums = calloc(c->layers * all + 1, sizeof *b->probability_sums);
    if (b->gemm == NULL || b->expert == NULL || b->expert_gradient == NULL || b->layer == NULL ||
        b->routing == NULL || b->slope == NULL || b->probability_sums == NULL) {
        return out_of_memory();
    }
    return adamoe_gemm_space_create(adamoe_gemm_tiles_best(), b->team, products, &b->gemm_space);
}

adamoe_status adamoe_backprop_create(const adamoe_parameters *parameters, const adamoe_team *team,
                                     unsigned trained, adamoe_backprop **out)
{
    const adamoe_config *c = &parameters->model.config;
    ADAMOE_TRY(adamoe_architecture_check(&c->architecture, ADAMOE_USE_TRAINING));
    adamoe_backprop *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return out_of_memory();
    }
    *b = (adamoe_backprop){.parameters = parameters,
                           .config = c,
                           .team = team,
                           .trained = trained,
                           .ops = adamoe_vector_ops_best(),
                           .train_ops = adamoe_train_ops_best(),
                           .call = adamoe_attention_call_of(c)};
    const adamoe_status status = allocate(b);
    if (status.code != ADAMOE_OK) {
        adamoe_backprop_free(b);
        return status;
    }
    *out = b;
    return adamoe_ok();
}

void adamoe_backprop_free(adamoe_backprop *b)
{
    if (b == NULL) {
        return;
    }
    for (size_t layer = 0; layer < b->config->layers && b->layer != NULL; ++layer) {
        adamoe_routing_space_free(&b->layer[layer].routing);
        adamoe_plan_space_free(&b->layer[layer].plan);
        adamoe_routed_layer_free(&b->layer[layer].routed);
    }
    adamoe_gemm_space_free(b->gemm_space);
    free(b->gemm);
    free(b->expert);
    free(b->expert_gradient);
    free(b->layer);
    free(b->routing);
    free(b->slope);
    free(b->probability_sums);
    adamoe_batch_memory_free(&b->memory);
    free(b);
}

adamoe_status adamoe_backprop_use(adamoe_backprop *b, size_t index)
{
    bool runs_here = false;
    const adamoe_vector_ops *ops = adamoe_vector_ops_at(index, &runs_here);
    if (ops == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "training: no instruction set %zu", index);
    }
    if (!runs_here) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "training: %s: this processor has it not", ops->name);
    }
    adamoe_gemm_space *space = NULL;
    ADAMOE_TRY(adamoe_gemm_space_create(adamoe_gemm_tiles_at(index, &runs_here), b->team,
                                        3 * b->config->experts + 8, &space));
    adamoe_gemm_space_free(b->gemm_space);
    b->gemm_space = space;
    b->ops = ops;
    b->train_ops = adamoe_train_ops_at(index, &runs_here);
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- the batch */

static adamoe_status check_token(const adamoe_backprop *b, size_t sequence, size_t t)
{
    const size_t vocab = b->config->vocab_size;
    const uint32_t token = b->batch->token[t], target = b->batch->target[t];
    if (token >= vocab || (target >= vocab && target != ADAMOE_NO_TARGET)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "sequence %zu: token %zu: id %u or its target %u is outside the vocabulary of "
                            "%zu",
                            sequence, t - b->batch->offset[sequence], token, target, vocab);
    }
    return adamoe_ok();
}

/* Counts tokens, targets and the longest sequence. */
static adamoe_status measure(adamoe_backprop *b)
{
    const size_t *offset = b->batch->offset;
    b->tokens = offset[b->batch->sequences];
    b->targets = b->longest = 0;
    for (size_t s = 0; s < b->batch->sequences; ++s) {
        const size_t length = offset[s + 1] - offset[s];
        b->longest = length > b->longest ? length : b->longest;
        for (size_t t = offset[s]; t < offset[s + 1]; ++t) {
            ADAMOE_TRY(check_token(b, s, t));
            b->targets += b->batch->target[t] != ADAMOE_NO_TARGET;
        }
    }
    return b->targets > 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "batch: no token has a target, so there is no loss");
}

static void fill_lists(adamoe_backprop *b)
{
    size_t targets = 0;
    for (size_t s = 0; s < b->batch->sequences; ++s) {
        for (size_t t = b->batch->offset[s]; t < b->batch->offset[s + 1]; ++t) {
            b->at.position[t] = t - b->batch->offset[s];
            b->at.number[t] = t;
            if (b->batch->target[t] != ADAMOE_NO_TARGET) {
                b->at.wanted[targets++] = (uint32_t)t;
            }
        }
    }
}

/* ----------------------------------------------------------------------------------- forward and backward */

static adamoe_status layer_forward(adamoe_backprop *b, size_t layer, const adamoe_observer *observer)
{
    const bool last = layer + 1 == b->config->layers;
    ADAMOE_TRY(backprop_attention_forward(b, layer));
    ADAMOE_TRY(backprop_experts_forward(b, layer, last ? b->at.output : b->layer[layer + 1].attention_input));
    if (observer != NULL && !b->config->architecture.dense && b->router == NULL) {
        observer->routed(observer->context, layer, b->routing[layer]);
    }
    return adamoe_ok();
}

static float embedding_factor(const adamoe_backprop *b)
{
    return b->config->architecture.multipliers ? (float)b->config->multiplier.embedding : 1.0f;
}

static adamoe_status forward(adamoe_backprop *b, const adamoe_observer *observer)
{
    float *first = b->config->layers > 0 ? b->layer[0].attention_input : b->at.output;
    adamoe_embed_rows(b->team, &b->parameters->model.embedding, b->batch->token, b->tokens, first);
    backprop_multiply(b, embedding_factor(b), b->tokens, b->config->hidden_size, first);
    for (size_t layer = 0; layer < b->config->layers; ++layer) {
        const adamoe_status status = layer_forward(b, layer, observer);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "layer %zu: %.400s", layer, status.message);
        }
    }
    return adamoe_ok();
}

static void sum_probabilities(adamoe_backprop *b, size_t layer)
{
    const adamoe_routing *routing = b->routing[layer];
    const size_t all = routing->experts + routing->null_experts;
    double *sum = b->probability_sums + layer * all;
    memset(sum, 0, all * sizeof *sum);
    for (size_t t = 0; t < routing->tokens; ++t) {
        for (size_t i = 0; i < all; ++i) {
            sum[i] += (double)routing->probabilities[t * all + i];
        }
    }
}

/* The balance loss and its slopes, once all layers are routed. A dense model has none. */
static double balance(adamoe_backprop *b, const adamoe_objective *objective)
{
    const size_t layers = b->config->layers, all = b->config->experts + b->config->null_experts;
    double loss = 0.0;
    adamoe_balance_slope(b->routing, layers, objective->form, objective->pooling, NULL,
                         b->config->architecture.dense ? 0.0 : objective->alpha, b->slope);
    for (size_t layer = 0; layer < layers; ++layer) {
        sum_probabilities(b, layer);
    }
    for (size_t i = 0; i < layers * all; ++i) {
        loss += b->slope[i] * b->probability_sums[i];
    }
    return loss;
}

static void count_load(const adamoe_backprop *b, adamoe_backprop_result *result)
{
    size_t rows = 0, without = 0;
    for (size_t layer = 0; layer < b->config->layers; ++layer) {
        const adamoe_plan *plan = backprop_plan(b, layer);
        rows += plan->rows;
        for (size_t t = 0; t < b->tokens; ++t) {
            without += plan->token_offset[t] == plan->token_offset[t + 1];
        }
    }
    const double places = (double)b->config->layers * (double)b->tokens;
    result->tokens = b->tokens;
    result->load = places > 0.0 ? (double)rows / places : 0.0;
    result->all_null_share = places > 0.0 ? (double)without / places : 0.0;
}

/* Some columns of the embedding's gradient, over the tokens in ascending order. */
typedef struct embedding_call {
    const adamoe_backprop *b;
    float *dembedding;
} embedding_call;

enum { EMBEDDING_COLUMNS = 16 };

static void embedding_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const embedding_call *call = context;
    const adamoe_backprop *b = call->b;
    const size_t d = b->config->hidden_size, first = i * EMBEDDING_COLUMNS;
    const size_t count = d - first < EMBEDDING_COLUMNS ? d - first : EMBEDDING_COLUMNS;
    for (size_t v = 0; v < b->config->vocab_size && !b->config->architecture.tied_head; ++v) {
        memset(call->dembedding + v * d + first, 0, count * sizeof(float));
    }
    for (size_t t = 0; t < b->tokens; ++t) {
        b->ops->add(call->dembedding + b->batch->token[t] * d + first, b->at.dresidual + t * d + first,
                    count);
    }
}

/* With a tied head, on top of what the head has left there. */
static void embedding_backward(const adamoe_backprop *b)
{
    embedding_call call = {b, backprop_gradient(b, ADAMOE_EMBEDDING, &b->parameters->model.embedding)};
    if (call.dembedding != NULL) {
        backprop_multiply(b, embedding_factor(b), b->tokens, b->config->hidden_size, b->at.dresidual);
        const size_t tasks = (b->config->hidden_size + EMBEDDING_COLUMNS - 1) / EMBEDDING_COLUMNS;
        b->team->run(b->team->state, tasks, embedding_task, &call);
    }
}

static void clear_untrained(const adamoe_backprop *b)
{
    for (size_t i = 0; i < b->parameters->parameters; ++i) {
        const adamoe_parameter *p = &b->parameters->parameter[i];
        if ((p->kind & b->trained) == 0) {
            memset(b->gradient + p->first, 0, p->rows * p->columns * sizeof(float));
        }
    }
}

static adamoe_status run(adamoe_backprop *b, const adamoe_objective *objective,
                         const adamoe_observer *observer, adamoe_backprop_result *result)
{
    ADAMOE_TRY(measure(b));
    ADAMOE_TRY(backprop_lay_out(b));
    adamoe_rotary_angles(b->config, b->longest, b->at.cosine, b->at.sine, b->at.minus_sine);
    fill_lists(b);
    ADAMOE_TRY(forward(b, observer));
    ADAMOE_TRY(backprop_head(b, &result->loss.cross_entropy));
    result->loss.balance =
        b->router == NULL ? balance(b, objective) : backprop_router_losses(b, objective->alpha);
    result->loss.total = result->loss.cross_entropy + result->loss.balance;
    result->loss.targets = b->targets;
    count_load(b, result);
    for (size_t layer = b->config->layers; b->gradient != NULL && layer-- > 0;) {
        ADAMOE_TRY(backprop_experts_backward(b, layer));
        backprop_attention_backward(b, layer);
    }
    if (b->gradient != NULL) {
        embedding_backward(b);
        clear_untrained(b);
        if (b->router != NULL) {
            backprop_advance_router(b);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_backprop_run(adamoe_backprop *backprop, const adamoe_training_batch *batch,
                                  const adamoe_objective *objective, const adamoe_observer *observer,
                                  adamoe_backprop_result *result, float *gradient)
{
    backprop->batch = batch;
    backprop->gradient = gradient;
    return run(backprop, objective, observer, result);
}

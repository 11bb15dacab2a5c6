/*
 * The loss of a whole model over a batch, and its gradient: forward through all layers in double, keeping
 * what each part read, then backward.
 */
#include "gradient/gradient_model.h"
#include "numbers.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one run keeps. Arrays of tokens are [tokens, hidden_size]. */
typedef struct run {
    const adamoe_model *model;
    const adamoe_training_batch *batch;
    size_t tokens;
    double *attention_input;  /* [layers + 1, tokens, hidden_size] the residual before attention; after the
                                 last  layer, before the final norm */
    double *experts_input;    /* [layers, tokens, hidden_size] the residual before the experts */
    adamoe_routing **routing; /* [layers] */
    double *slope;            /* [layers, n + m] of the balance loss */
    double *probability_sums; /* [layers, n + m] */
    double *normed, *update;  /* what a part reads and writes */
    double *dresidual, *dnormed;
    double *shared_work;  /* of a shared expert */
    double *head_work;    /* [hidden_size + vocab_size] */
    double *token_logits; /* [n + m] */
    float *logits;        /* [tokens, n + m] as the selection compares them */
} run;

static size_t all_experts(const run *r)
{
    return r->model->config.experts + r->model->config.null_experts;
}

static double *attention_input(const run *r, size_t layer)
{
    return r->attention_input + layer * r->tokens * r->model->config.hidden_size;
}

static double *experts_input(const run *r, size_t layer)
{
    return r->experts_input + layer * r->tokens * r->model->config.hidden_size;
}

static void free_run(run *r)
{
    for (size_t layer = 0; layer < r->model->config.layers && r->routing != NULL; ++layer) {
        adamoe_routing_free(r->routing[layer]);
    }
    free(r->attention_input);
    free(r->experts_input);
    free(r->routing);
    free(r->slope);
    free(r->probability_sums);
    free(r->normed);
    free(r->update);
    free(r->dresidual);
    free(r->dnormed);
    free(r->shared_work);
    free(r->head_work);
    free(r->token_logits);
    free(r->logits);
}

static adamoe_status allocate_run(const adamoe_model *model, const adamoe_training_batch *batch, run *r)
{
    const adamoe_config *config = &model->config;
    const size_t all = config->experts + config->null_experts, tokens = batch->offset[batch->sequences];
    const size_t width = tokens * config->hidden_size;
    *r = (run){.model = model,
               .batch = batch,
               .tokens = tokens,
               .attention_input = calloc(config->layers + 1, width * sizeof(double)),
               .experts_input = calloc(config->layers + 1, width * sizeof(double)),
               .routing = calloc(config->layers + 1, sizeof *r->routing), /* + 1: calloc(0) may give NULL */
               .slope = calloc(config->layers + 1, all * sizeof(double)),
               .probability_sums = calloc(config->layers + 1, all * sizeof(double)),
               .normed = calloc(width, sizeof(double)),
               .update = calloc(width, sizeof(double)),
               .dresidual = calloc(width, sizeof(double)),
               .dnormed = calloc(width, sizeof(double)),
               .shared_work = calloc(adamoe_shared_work(config), sizeof(double)),
               .head_work = calloc(config->hidden_size + config->vocab_size, sizeof(double)),
               .token_logits = calloc(all, sizeof(double)),
               .logits = calloc(tokens, all * sizeof(float))};
    if (r->attention_input == NULL || r->experts_input == NULL || r->routing == NULL || r->slope == NULL ||
        r->probability_sums == NULL || r->normed == NULL || r->update == NULL || r->dresidual == NULL ||
        r->dnormed == NULL || r->shared_work == NULL || r->head_work == NULL || r->token_logits == NULL ||
        r->logits == NULL) {
        free_run(r);
        return adamoe_error(ADAMOE_ENVIRONMENT, "gradient: out of memory for %zu tokens", tokens);
    }
    return adamoe_ok();
}

static adamoe_status check_batch(const adamoe_config *config, const adamoe_training_batch *batch,
                                 size_t *targets)
{
    ADAMOE_TRY(adamoe_norm_trains(config->rule.norm));
    *targets = 0;
    for (size_t s = 0; s < batch->sequences; ++s) {
        for (size_t t = batch->offset[s]; t < batch->offset[s + 1]; ++t) {
            const uint32_t target = batch->target[t];
            if (batch->token[t] >= config->vocab_size ||
                (target >= config->vocab_size && target != ADAMOE_NO_TARGET)) {
                return adamoe_error(ADAMOE_BAD_INPUT,
                                    "sequence %zu: token %zu: id %u or its target %u is outside the "
                                    "vocabulary of %zu",
                                    s, t - batch->offset[s], batch->token[t], target, config->vocab_size);
            }
            *targets += target != ADAMOE_NO_TARGET;
        }
    }
    return *targets > 0 ? adamoe_ok()
                        : adamoe_error(ADAMOE_BAD_INPUT, "batch: no token has a target, so there is no loss");
}

static adamoe_status in_layer(size_t layer, adamoe_status status)
{
    return status.code == ADAMOE_OK ? status
                                    : adamoe_error(status.code, "layer %zu: %.400s", layer, status.message);
}

/* normed = norm(x) for every token. */
static void normalise(const run *r, const adamoe_matrix *gain, const double *x)
{
    const size_t d = r->model->config.hidden_size;
    for (size_t t = 0; t < r->tokens; ++t) {
        adamoe_rms_norm_double(gain, r->model->config.rms_norm_eps, x + t * d, r->normed + t * d);
    }
}

/* dresidual += what dnormed, the derivative of norm(x), gives for x; dnormed is then 0 again. */
static void normalise_backward(const run *r, const adamoe_matrix *gain, const double *x, double *dgain)
{
    const size_t d = r->model->config.hidden_size;
    for (size_t t = 0; t < r->tokens; ++t) {
        adamoe_rms_norm_backward(gain, r->model->config.rms_norm_eps, x + t * d, r->dnormed + t * d,
                                 r->dresidual + t * d, dgain);
    }
    memset(r->dnormed, 0, r->tokens * d * sizeof *r->dnormed);
}

static size_t states(const run *r)
{
    return r->tokens * r->model->config.hidden_size;
}

/* One of the multipliers, or 1 where the architecture has none. */
static double multiplier(const run *r, double value)
{
    return r->model->config.architecture.multipliers ? value : 1.0;
}

/* out = x + update, the update times the residual multiplier */
static void add_update(const run *r, const double *x, double *out)
{
    const double factor = multiplier(r, r->model->config.multiplier.residual);
    for (size_t i = 0; i < states(r); ++i) {
        out[i] = x[i] + factor * r->update[i];
    }
}

/* update becomes its derivative: dresidual times the residual multiplier. */
static void add_update_backward(const run *r)
{
    const double factor = multiplier(r, r->model->config.multiplier.residual);
    for (size_t i = 0; i < states(r); ++i) {
        r->update[i] = factor * r->dresidual[i];
    }
}

static adamoe_status attention_forward(const run *r, size_t layer)
{
    const adamoe_config *config = &r->model->config;
    const size_t *offset = r->batch->offset, d = config->hidden_size;
    for (size_t s = 0; s < r->batch->sequences; ++s) {
        ADAMOE_TRY(adamoe_attention_double(config, &r->model->block[layer].attention,
                                           r->normed + offset[s] * d, offset[s + 1] - offset[s],
                                           r->update + offset[s] * d));
    }
    return adamoe_ok();
}

/* From `update`, the derivative of what attention gives. */
static adamoe_status attention_backward(const run *r, size_t layer, const adamoe_attention_gradient *gradient)
{
    const adamoe_config *config = &r->model->config;
    const size_t *offset = r->batch->offset, d = config->hidden_size;
    for (size_t s = 0; s < r->batch->sequences; ++s) {
        ADAMOE_TRY(adamoe_attention_backward(
            config, &r->model->block[layer].attention, r->normed + offset[s] * d, offset[s + 1] - offset[s],
            r->update + offset[s] * d, r->dnormed + offset[s] * d, gradient));
    }
    return adamoe_ok();
}

/* Selects by the logits as float32 (reference/README.md section 2); the routing stays for the way back. */
static adamoe_status route(const run *r, size_t layer, const adamoe_observer *observer)
{
    const adamoe_config *config = &r->model->config;
    const size_t all = all_experts(r);
    for (size_t t = 0; t < r->tokens; ++t) {
        adamoe_router_logits_double(&r->model->block[layer].moe, r->normed + t * config->hidden_size,
                                    r->token_logits);
        for (size_t i = 0; i < all; ++i) {
            r->logits[t * all + i] = (float)r->token_logits[i];
        }
    }
    ADAMOE_TRY(adamoe_routing_create(r->logits, r->tokens, config->experts, config->null_experts,
                                     config->rule, &r->routing[layer]));
    if (observer != NULL && !config->architecture.dense) {
        observer->routed(observer->context, layer, r->routing[layer]);
    }
    return adamoe_ok();
}

/* update += what the shared expert gives, where there is one. */
static void shared_forward(const run *r, size_t layer)
{
    const size_t d = r->model->config.hidden_size;
    for (size_t t = 0; t < r->tokens && r->model->config.architecture.shared_expert; ++t) {
        adamoe_shared_double(&r->model->block[layer], r->normed + t * d, r->update + t * d, r->shared_work);
    }
}

/* dnormed += through it, from `update`. */
static void shared_backward(const run *r, size_t layer, const adamoe_shared_gradient *gradient)
{
    const size_t d = r->model->config.hidden_size;
    for (size_t t = 0; t < r->tokens && r->model->config.architecture.shared_expert; ++t) {
        adamoe_shared_backward(&r->model->block[layer], r->normed + t * d, r->update + t * d,
                               r->dnormed + t * d, gradient, r->shared_work);
    }
}

/* x += attention(norm(x)); x += experts(norm(x)) */
static adamoe_status block_forward(const run *r, size_t layer, const adamoe_observer *observer)
{
    const adamoe_block *block = &r->model->block[layer];
    normalise(r, &block->input_norm, attention_input(r, layer));
    ADAMOE_TRY(attention_forward(r, layer));
    add_update(r, attention_input(r, layer), experts_input(r, layer));

    normalise(r, &block->post_attention_norm, experts_input(r, layer));
    ADAMOE_TRY(route(r, layer, observer));
    ADAMOE_TRY(adamoe_layer_double(&block->moe, r->routing[layer], r->normed, r->update,
                                   r->probability_sums + layer * all_experts(r)));
    shared_forward(r, layer);
    add_update(r, experts_input(r, layer), attention_input(r, layer + 1));
    return adamoe_ok();
}

/* dresidual, the derivative of what the block gives, becomes that of what it reads. */
static adamoe_status block_backward(const run *r, size_t layer, const adamoe_block_gradient *gradient)
{
    const adamoe_block *block = &r->model->block[layer];
    normalise(r, &block->post_attention_norm, experts_input(r, layer));
    add_update_backward(r);
    ADAMOE_TRY(adamoe_layer_backward(&block->moe, r->routing[layer], r->normed,
                                     r->slope + layer * all_experts(r), r->update, r->dnormed,
                                     &gradient->moe));
    shared_backward(r, layer, &gradient->shared);
    normalise_backward(r, &block->post_attention_norm, experts_input(r, layer),
                       gradient->post_attention_norm);

    normalise(r, &block->input_norm, attention_input(r, layer));
    add_update_backward(r);
    ADAMOE_TRY(attention_backward(r, layer, &gradient->attention));
    normalise_backward(r, &block->input_norm, attention_input(r, layer), gradient->input_norm);
    return adamoe_ok();
}

/* Mean over the tokens with a target. */
static adamoe_status head_forward(const run *r, size_t targets, double *cross_entropy)
{
    const size_t d = r->model->config.hidden_size;
    *cross_entropy = 0.0;
    for (size_t t = 0; t < r->tokens; ++t) {
        if (r->batch->target[t] == ADAMOE_NO_TARGET) {
            continue;
        }
        const double loss = adamoe_cross_entropy_double(&r->model->head, r->normed + t * d,
                                                        r->batch->target[t], r->head_work);
        if (!isfinite(loss)) {
            return adamoe_error(ADAMOE_BAD_INPUT, "token %zu of the batch: the loss is %s", t,
                                isnan(loss) ? "NaN" : "infinite");
        }
        *cross_entropy += loss / (double)targets;
    }
    return adamoe_ok();
}

static void head_backward(const run *r, size_t targets, double *dhead)
{
    const size_t d = r->model->config.hidden_size;
    for (size_t t = 0; t < r->tokens; ++t) {
        if (r->batch->target[t] != ADAMOE_NO_TARGET) {
            adamoe_cross_entropy_backward(&r->model->head, r->normed + t * d, r->batch->target[t],
                                          1.0 / (double)targets, r->dnormed + t * d, dhead, r->head_work);
        }
    }
}

/* The balance loss and its slopes, once all layers are routed. A dense model has none. */
static double balance(const run *r, const adamoe_objective *objective)
{
    const adamoe_config *config = &r->model->config;
    const size_t count = config->layers * all_experts(r);
    double loss = 0.0;
    adamoe_balance_slope((const adamoe_routing *const *)r->routing, config->layers, objective->form,
                         objective->pooling, NULL, config->architecture.dense ? 0.0 : objective->alpha,
                         r->slope);
    for (size_t i = 0; i < count; ++i) {
        loss += r->slope[i] * r->probability_sums[i];
    }
    return loss;
}

static void multiply(double factor, double *x, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        x[i] *= factor;
    }
}

static adamoe_status forward(const run *r, const adamoe_objective *objective, const adamoe_observer *observer,
                             adamoe_training_loss *loss)
{
    const adamoe_config *config = &r->model->config;
    for (size_t t = 0; t < r->tokens; ++t) {
        adamoe_matrix_row(&r->model->embedding, r->batch->token[t],
                          r->attention_input + t * config->hidden_size);
    }
    multiply(multiplier(r, config->multiplier.embedding), r->attention_input, states(r));
    for (size_t layer = 0; layer < config->layers; ++layer) {
        ADAMOE_TRY(in_layer(layer, block_forward(r, layer, observer)));
    }
    normalise(r, &r->model->final_norm, attention_input(r, config->layers));
    multiply(1.0 / multiplier(r, config->multiplier.logits), r->normed, states(r)); /* and so the logits */
    ADAMOE_TRY(head_forward(r, loss->targets, &loss->cross_entropy));
    loss->balance = balance(r, objective);
    loss->total = loss->cross_entropy + loss->balance;
    return adamoe_ok();
}

static adamoe_status backward(const run *r, size_t targets, const adamoe_model_gradient *gradient)
{
    const adamoe_config *config = &r->model->config;
    const size_t d = config->hidden_size;
    head_backward(r, targets, gradient->head);
    multiply(1.0 / multiplier(r, config->multiplier.logits), r->dnormed, states(r));
    normalise_backward(r, &r->model->final_norm, attention_input(r, config->layers), gradient->final_norm);
    for (size_t layer = config->layers; layer-- > 0;) {
        ADAMOE_TRY(in_layer(layer, block_backward(r, layer, &gradient->block[layer])));
    }
    multiply(multiplier(r, config->multiplier.embedding), r->dresidual, states(r));
    for (size_t t = 0; t < r->tokens && gradient->embedding != NULL; ++t) {
        for (size_t c = 0; c < d; ++c) {
            gradient->embedding[r->batch->token[t] * d + c] += r->dresidual[t * d + c];
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_model_loss(const adamoe_model *model, const adamoe_training_batch *batch,
                                const adamoe_objective *objective, const adamoe_observer *observer,
                                adamoe_training_loss *loss, adamoe_model_gradient *gradient)
{
    run r;
    ADAMOE_TRY(adamoe_architecture_check(&model->config.architecture, ADAMOE_USE_TRAINING));
    ADAMOE_TRY(check_batch(&model->config, batch, &loss->targets));
    ADAMOE_TRY(allocate_run(model, batch, &r));
    adamoe_status status = forward(&r, objective, observer, loss);
    if (status.code == ADAMOE_OK && gradient != NULL) {
        status = backward(&r, loss->targets, gradient);
    }
    free_run(&r);
    return status;
}

/*
 * A dense model with LoRA experts in double: one pass over a batch of sequences, and what is read from it.
 */
#include "lora/lora_model.h"
#include "numbers.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One pass. Arrays of tokens; the wider ones of a map's inputs and outputs. */
typedef struct pass {
    const adamoe_lora_model *model;
    size_t tokens, sequences;
    const size_t *offset;               /* [sequences + 1] */
    double *residual, *normed, *update; /* [tokens, hidden_size] */
    double *query, *mixed;              /* [tokens, heads * head_dim] */
    double *key, *value;                /* [tokens, key_value_heads * head_dim] */
    double *gate, *up;                  /* [tokens, intermediate_size] */
    double *head_work;                  /* [hidden_size + vocab_size] */
    adamoe_routing **routing;           /* [layers, ADAMOE_MAPS] */
    double *slope, *probability_sums;   /* [layers, ADAMOE_MAPS, n + m] */
} pass;

static size_t routers_of(const pass *p)
{
    return p->model->base->config.layers * ADAMOE_MAPS;
}

static void free_pass(pass *p)
{
    for (size_t i = 0; i < routers_of(p) && p->routing != NULL; ++i) {
        adamoe_routing_free(p->routing[i]);
    }
    double *const arrays[] = {
        p->residual,  p->normed, p->update,           p->query, p->mixed, p->key, p->value, p->gate,
        p->head_work, p->up,     p->probability_sums, p->slope};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i) {
        free(arrays[i]);
    }
    free(p->routing);
}

static double *doubles(size_t rows, size_t columns)
{
    return calloc(rows + 1, (columns + 1) * sizeof(double)); /* + 1: calloc(0) may give NULL */
}

static adamoe_status allocate_pass(const adamoe_lora_model *model, const size_t *offset, size_t sequences,
                                   pass *p)
{
    const adamoe_config *c = &model->base->config;
    const size_t t = offset[sequences], q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    const size_t all = model->sizes.experts + model->sizes.null_experts, routers = c->layers * ADAMOE_MAPS;
    *p = (pass){.model = model, .tokens = t, .sequences = sequences, .offset = offset};
    const bool complete =
        (p->residual = doubles(t, c->hidden_size)) != NULL &&
        (p->normed = doubles(t, c->hidden_size)) != NULL &&
        (p->update = doubles(t, c->hidden_size)) != NULL && (p->query = doubles(t, q)) != NULL &&
        (p->mixed = doubles(t, q)) != NULL && (p->key = doubles(t, kv)) != NULL &&
        (p->value = doubles(t, kv)) != NULL && (p->gate = doubles(t, c->intermediate_size)) != NULL &&
        (p->up = doubles(t, c->intermediate_size)) != NULL &&
        (p->head_work = doubles(c->hidden_size + c->vocab_size, 1)) != NULL &&
        (p->slope = doubles(routers, all)) != NULL && (p->probability_sums = doubles(routers, all)) != NULL &&
        (p->routing = calloc(routers + 1, sizeof *p->routing)) != NULL;
    if (!complete) {
        free_pass(p);
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA model: out of memory for %zu tokens", t);
    }
    return adamoe_ok();
}

static void normalise(const pass *p, const adamoe_matrix *gain)
{
    const size_t d = gain->columns;
    for (size_t t = 0; t < p->tokens; ++t) {
        adamoe_rms_norm_double(gain, p->model->base->config.rms_norm_eps, p->residual + t * d,
                               p->normed + t * d);
    }
}

static void add_update(const pass *p)
{
    for (size_t i = 0; i < p->tokens * p->model->base->config.hidden_size; ++i) {
        p->residual[i] += p->update[i];
    }
}

/* Routes and computes one map of one layer for all tokens. */
static adamoe_status apply(const pass *p, size_t layer, size_t map, const double *x, double *y)
{
    const adamoe_lora_sizes *sizes = &p->model->sizes;
    const size_t router = layer * ADAMOE_MAPS + map;
    const adamoe_lora_experts *experts = &p->model->map[router];
    adamoe_status status = adamoe_lora_experts_route(experts, sizes->rule, x, p->tokens, &p->routing[router]);
    if (status.code == ADAMOE_OK) {
        status =
            adamoe_lora_experts_double(experts, p->routing[router], x, y,
                                       p->probability_sums + router * (sizes->experts + sizes->null_experts));
    }
    return status.code == ADAMOE_OK ? status
                                    : adamoe_error(status.code, "layer %zu: %s: %.400s", layer,
                                                   adamoe_map_names[map], status.message);
}

static void add_bias(const pass *p, const adamoe_matrix *bias, double *x)
{
    for (size_t i = 0; i < p->tokens * bias->columns; ++i) {
        x[i] += adamoe_matrix_at(bias, 0, i % bias->columns);
    }
}

/* Over as much at a time as the gain is wide. */
static void norm_heads(const pass *p, const adamoe_matrix *gain, size_t width, double *x)
{
    for (size_t at = 0; at < p->tokens * width; at += gain->columns) {
        adamoe_rms_norm_double(gain, p->model->base->config.rms_norm_eps, x + at, x + at);
    }
}

/* What the base has behind its maps q, k and v: biases, then norms. */
static void finish_projections(const pass *p, size_t layer)
{
    const adamoe_config *c = &p->model->base->config;
    const adamoe_attention *w = &p->model->base->block[layer].attention;
    if (c->architecture.biases) {
        add_bias(p, &w->q_bias, p->query);
        add_bias(p, &w->k_bias, p->key);
        add_bias(p, &w->v_bias, p->value);
    }
    if (c->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE) {
        norm_heads(p, &w->q_norm, c->heads * c->head_dim, p->query);
        norm_heads(p, &w->k_norm, c->key_value_heads * c->head_dim, p->key);
    }
}

/* residual += o(attention(q, k, v)) */
static adamoe_status attend(const pass *p, size_t layer)
{
    const adamoe_config *c = &p->model->base->config;
    const size_t q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    normalise(p, &p->model->base->block[layer].input_norm);
    ADAMOE_TRY(apply(p, layer, ADAMOE_MAP_Q, p->normed, p->query));
    ADAMOE_TRY(apply(p, layer, ADAMOE_MAP_K, p->normed, p->key));
    ADAMOE_TRY(apply(p, layer, ADAMOE_MAP_V, p->normed, p->value));
    finish_projections(p, layer);
    for (size_t s = 0; s < p->sequences; ++s) {
        const size_t first = p->offset[s];
        ADAMOE_TRY(adamoe_attention_mix_double(c, p->query + first * q, p->key + first * kv,
                                               p->value + first * kv, p->offset[s + 1] - first,
                                               p->mixed + first * q));
    }
    ADAMOE_TRY(apply(p, layer, ADAMOE_MAP_O, p->mixed, p->update));
    if (c->architecture.output_bias) {
        add_bias(p, &p->model->base->block[layer].attention.o_bias, p->update);
    }
    add_update(p);
    return adamoe_ok();
}

/* residual += down(silu(gate(x)) * up(x)) */
static adamoe_status feed_forward(const pass *p, size_t layer)
{
    normalise(p, &p->model->base->block[layer].post_attention_norm);
    ADAMOE_TRY(apply(p, layer, ADAMOE_MAP_GATE, p->normed, p->gate));
    ADAMOE_TRY(apply(p, layer, ADAMOE_MAP_UP, p->normed, p->up));
    for (size_t i = 0; i < p->tokens * p->model->base->config.intermediate_size; ++i) {
        p->gate[i] = adamoe_silu(p->gate[i]) * p->up[i];
    }
    ADAMOE_TRY(apply(p, layer, ADAMOE_MAP_DOWN, p->gate, p->update));
    add_update(p);
    return adamoe_ok();
}

/* All layers; normed is then what the head reads. */
static adamoe_status run(const pass *p, const uint32_t *token)
{
    const adamoe_model *base = p->model->base;
    for (size_t t = 0; t < p->tokens; ++t) {
        adamoe_matrix_row(&base->embedding, token[t], p->residual + t * base->config.hidden_size);
    }
    for (size_t layer = 0; layer < base->config.layers; ++layer) {
        ADAMOE_TRY(attend(p, layer));
        ADAMOE_TRY(feed_forward(p, layer));
    }
    normalise(p, &base->final_norm);
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- the loss */

static adamoe_status check_batch(const adamoe_config *config, const adamoe_training_batch *batch,
                                 size_t *targets)
{
    *targets = 0;
    for (size_t t = 0; t < batch->offset[batch->sequences]; ++t) {
        const uint32_t target = batch->target[t];
        if (batch->token[t] >= config->vocab_size ||
            (target >= config->vocab_size && target != ADAMOE_NO_TARGET)) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "token %zu: id %u or its target %u is outside the vocabulary", t,
                                batch->token[t], target);
        }
        *targets += target != ADAMOE_NO_TARGET;
    }
    return *targets > 0 ? adamoe_ok()
                        : adamoe_error(ADAMOE_BAD_INPUT, "batch: no token has a target, so there is no loss");
}

static double cross_entropy_of(const pass *p, const uint32_t *target, size_t targets)
{
    const size_t d = p->model->base->config.hidden_size;
    double sum = 0.0;
    for (size_t t = 0; t < p->tokens; ++t) {
        if (target[t] != ADAMOE_NO_TARGET) {
            sum += adamoe_cross_entropy_double(&p->model->base->head, p->normed + t * d, target[t],
                                               p->head_work);
        }
    }
    return sum / (double)targets;
}

static double balance_of(const pass *p, const adamoe_objective *objective)
{
    const adamoe_lora_sizes *sizes = &p->model->sizes;
    const size_t count = routers_of(p) * (sizes->experts + sizes->null_experts);
    double loss = 0.0;
    adamoe_balance_slope((const adamoe_routing *const *)p->routing, routers_of(p), objective->form,
                         objective->pooling, NULL, sizes->routed ? objective->alpha : 0.0, p->slope);
    for (size_t i = 0; i < count; ++i) {
        loss += p->slope[i] * p->probability_sums[i];
    }
    return loss;
}

adamoe_status adamoe_lora_model_loss(const adamoe_lora_model *model, const adamoe_training_batch *batch,
                                     const adamoe_objective *objective, const adamoe_observer *observer,
                                     adamoe_training_loss *loss)
{
    pass p;
    ADAMOE_TRY(check_batch(&model->base->config, batch, &loss->targets));
    ADAMOE_TRY(allocate_pass(model, batch->offset, batch->sequences, &p));
    const adamoe_status status = run(&p, batch->token);
    if (status.code == ADAMOE_OK) {
        loss->cross_entropy = cross_entropy_of(&p, batch->target, loss->targets);
        loss->balance = balance_of(&p, objective);
        loss->total = loss->cross_entropy + loss->balance;
        for (size_t i = 0; i < routers_of(&p) && observer != NULL && model->sizes.routed; ++i) {
            observer->routed(observer->context, i, p.routing[i]);
        }
    }
    free_pass(&p);
    return status;
}

/* ----------------------------------------------------------------------------------------------- segments */

/* The tokens of a segment behind those of its ancestors; its own begin at *start. To be freed. */
static uint32_t *join(const adamoe_segment *segment, size_t index, size_t *start, size_t *count)
{
    *start = adamoe_segment_start(segment, index);
    *count = *start + segment[index].count;
    uint32_t *token = calloc(*count, sizeof *token);
    size_t end = *count;
    for (size_t s = index; s != ADAMOE_NO_PARENT && token != NULL; s = segment[s].parent) {
        end -= segment[s].count;
        memcpy(token + end, segment[s].token, segment[s].count * sizeof *token);
    }
    return token;
}

static void report_routings(const pass *p, size_t start, const adamoe_batch_hooks *hooks)
{
    for (size_t i = 0; i < routers_of(p) && hooks->routed != NULL && p->model->sizes.routed; ++i) {
        adamoe_routing own = *p->routing[i];
        const size_t k = own.rule.top_k, all = own.experts + own.null_experts;
        own.tokens -= start;
        own.id += start * k;
        own.weight += start * k;
        own.probability += start * k;
        own.logits += start * all;
        own.probabilities += start * all;
        hooks->routed(hooks->context, i, &own);
    }
}

static adamoe_status report_logits(const pass *p, const adamoe_segment *segment, size_t index, size_t start,
                                   const adamoe_batch_hooks *hooks)
{
    const adamoe_matrix *head = &p->model->base->head;
    double *logits = p->head_work + head->columns;
    float *stored = calloc(head->rows + 1, sizeof *stored);
    if (stored == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA model: out of memory");
    }
    for (size_t i = segment[index].logits_from; i < segment[index].count && hooks->logits != NULL; ++i) {
        adamoe_matrix_vector(head, ADAMOE_FLOAT64, p->normed + (start + i) * head->columns, logits,
                             p->head_work);
        for (size_t v = 0; v < head->rows; ++v) {
            stored[v] = (float)logits[v];
        }
        hooks->logits(hooks->context, index, i, stored);
    }
    free(stored);
    return adamoe_ok();
}

static adamoe_status run_segment(const adamoe_lora_model *model, const adamoe_segment *segment, size_t index,
                                 const adamoe_batch_hooks *hooks)
{
    size_t start, offset[2] = {0, 0};
    pass p;
    uint32_t *token = join(segment, index, &start, &offset[1]);
    adamoe_status status = token == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "LoRA model: out of memory")
                                         : allocate_pass(model, offset, 1, &p);
    if (status.code == ADAMOE_OK) {
        status = run(&p, token);
        if (status.code == ADAMOE_OK) {
            report_routings(&p, start, hooks);
            status = report_logits(&p, segment, index, start, hooks);
        }
        free_pass(&p);
    }
    free(token);
    return status;
}

adamoe_status adamoe_lora_model_batch(const adamoe_lora_model *model, const adamoe_segment *segment,
                                      size_t count, const adamoe_batch_hooks *hooks)
{
    ADAMOE_TRY(adamoe_batch_check(&model->base->config, segment, count));
    for (size_t s = 0; s < count; ++s) {
        const adamoe_status status = run_segment(model, segment, s, hooks);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "segment %zu: %.400s", s, status.message);
        }
    }
    return adamoe_ok();
}

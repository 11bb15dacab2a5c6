/*
 * The whole model on a kernel of the contract: the order of its steps, and the arrays that they pass on.
 */
#include "forward.h"
#include "forward_parts.h"
#include "host.h"
#include "numbers.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Logits are computed for so many positions at a time: enough rows for the product, little enough memory. */
#define HEAD_ROWS 64

static void free_state(forward_state *state)
{
    float *const arrays[] = {
        state->residual, state->normed, state->update, state->query,  state->mixed,         state->keys,
        state->values,   state->cosine, state->sine,   state->scores, state->router_logits,
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i) {
        free(arrays[i]);
    }
    free(state->span);
    free(state->position);
    free(state->run.work);
}

static void place_segments(forward_state *state)
{
    for (size_t s = 0; s < state->segments; ++s) {
        const adamoe_segment *segment = &state->segment[s];
        state->span[s] = (forward_span){.first_row = state->rows,
                                        .start = adamoe_segment_start(state->segment, s),
                                        .count = segment->count,
                                        .parent = segment->parent};
        const size_t end = state->span[s].start + segment->count;
        state->longest = end > state->longest ? end : state->longest;
        state->rows += segment->count;
    }
}

static void fill_positions(const adamoe_config *config, forward_state *state)
{
    for (size_t s = 0; s < state->segments; ++s) {
        for (size_t i = 0; i < state->span[s].count; ++i) {
            state->position[state->span[s].first_row + i] = state->span[s].start + i;
        }
    }
    const size_t half = config->head_dim / 2;
    for (size_t i = 0; i < half; ++i) {
        const double frequency = pow(config->rope_theta, -2.0 * (double)i / (double)config->head_dim);
        for (size_t p = 0; p < state->longest; ++p) {
            state->cosine[p * half + i] = (float)cos((double)p * frequency);
            state->sine[p * half + i] = (float)sin((double)p * frequency);
        }
    }
}

static adamoe_status create_state(const adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                  forward_state *state)
{
    const adamoe_config *c = &forward->model->config;
    *state = (forward_state){.segment = segment, .segments = count};
    state->run.team = forward->team;
    state->span = calloc(count + 1, sizeof *state->span);
    if (state->span == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory");
    }
    place_segments(state);
    const size_t rows = state->rows + 1, kv = c->key_value_heads * c->head_dim,
                 width = c->heads * c->head_dim;
    const size_t half = c->head_dim / 2;
    const bool complete =
        (state->position = calloc(rows, sizeof(size_t))) != NULL &&
        (state->residual = calloc(rows * c->hidden_size, sizeof(float))) != NULL &&
        (state->normed = calloc(rows * c->hidden_size, sizeof(float))) != NULL &&
        (state->update = calloc(rows * c->hidden_size, sizeof(float))) != NULL &&
        (state->query = calloc(rows * width, sizeof(float))) != NULL &&
        (state->mixed = calloc(rows * width, sizeof(float))) != NULL &&
        (state->keys = calloc(rows * kv, sizeof(float))) != NULL &&
        (state->values = calloc(rows * kv, sizeof(float))) != NULL &&
        (state->router_logits = calloc(rows * (c->experts + c->null_experts), sizeof(float))) != NULL &&
        (state->cosine = calloc(state->longest * half + 1, sizeof(float))) != NULL &&
        (state->sine = calloc(state->longest * half + 1, sizeof(float))) != NULL &&
        (state->scores = calloc((size_t)forward->team->threads * state->longest + 1, sizeof(float))) != NULL;
    if (!complete) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory for %zu tokens", state->rows);
    }
    fill_positions(c, state);
    return adamoe_ok();
}

/* A kernel's workspace grows to the largest size asked for and stays. */
static adamoe_status reserve_work(forward_state *state, size_t bytes)
{
    if (bytes <= state->run.work_bytes) {
        return adamoe_ok();
    }
    free(state->run.work);
    state->run.work_bytes = 0;
    state->run.work = adamoe_heap_host.allocate(NULL, bytes, 64);
    if (state->run.work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory for a workspace of %zu bytes", bytes);
    }
    state->run.work_bytes = bytes;
    return adamoe_ok();
}

static adamoe_status multiply(const adamoe_forward *forward, forward_state *state,
                              adamoe_prepared_matrix *matrix, const float *x, size_t rows, float *y)
{
    ADAMOE_TRY(reserve_work(state, forward->kernel->matrix_work_bytes(matrix, rows)));
    return forward->kernel->multiply(matrix, &state->run, x, rows, y);
}

static void add_update(const adamoe_config *config, forward_state *state)
{
    for (size_t i = 0; i < state->rows * config->hidden_size; ++i) {
        state->residual[i] += state->update[i];
    }
}

static adamoe_status attention_step(const adamoe_forward *forward, size_t layer, const forward_block *block,
                                    forward_state *state)
{
    const adamoe_block *weights = &forward->model->block[layer];
    forward_rms_norm(forward, &weights->input_norm, state->residual, state->rows, state->normed);
    ADAMOE_TRY(multiply(forward, state, block->q, state->normed, state->rows, state->query));
    ADAMOE_TRY(multiply(forward, state, block->k, state->normed, state->rows, state->keys));
    ADAMOE_TRY(multiply(forward, state, block->v, state->normed, state->rows, state->values));
    forward_attention(forward, state);
    ADAMOE_TRY(multiply(forward, state, block->o, state->mixed, state->rows, state->update));
    add_update(&forward->model->config, state);
    return adamoe_ok();
}

/* For a dense layer the logits stay 0: its one expert gets every token with weight 1. */
static adamoe_status make_plan(const adamoe_forward *forward, size_t layer, const forward_block *block,
                               forward_state *state, const adamoe_batch_hooks *hooks, adamoe_plan **plan)
{
    const adamoe_config *config = &forward->model->config;
    if (block->router != NULL) {
        ADAMOE_TRY(multiply(forward, state, block->router, state->normed, state->rows, state->router_logits));
    }
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_routing_create(state->router_logits, state->rows, config->experts, config->null_experts,
                                     config->rule, &routing));
    if (hooks->routed != NULL && !config->dense) {
        hooks->routed(hooks->context, layer, routing);
    }
    const adamoe_status status = adamoe_plan_create(routing, plan);
    adamoe_routing_free(routing);
    return status;
}

static adamoe_status expert_step(const adamoe_forward *forward, size_t layer, const forward_block *block,
                                 forward_state *state, const adamoe_batch_hooks *hooks)
{
    const adamoe_kernel *kernel = forward->kernel;
    adamoe_plan *plan = NULL;
    forward_rms_norm(forward, &forward->model->block[layer].post_attention_norm, state->residual, state->rows,
                     state->normed);
    ADAMOE_TRY(make_plan(forward, layer, block, state, hooks, &plan));
    adamoe_status status = reserve_work(state, kernel->work_bytes(block->experts, plan->rows, plan->tokens));
    if (status.code == ADAMOE_OK) {
        status = kernel->experts(block->experts, &state->run, state->normed, plan, state->update);
    }
    adamoe_plan_free(plan);
    ADAMOE_TRY(status);
    add_update(&forward->model->config, state);
    return adamoe_ok();
}

static adamoe_status block_step(const adamoe_forward *forward, size_t layer, const forward_block *block,
                                forward_state *state, const adamoe_batch_hooks *hooks)
{
    adamoe_status status = attention_step(forward, layer, block, state);
    if (status.code == ADAMOE_OK) {
        status = expert_step(forward, layer, block, state, hooks);
    }
    return status.code == ADAMOE_OK ? status
                                    : adamoe_error(status.code, "layer %zu: %.400s", layer, status.message);
}

static adamoe_status run_layers(adamoe_forward *forward, forward_state *state,
                                const adamoe_batch_hooks *hooks)
{
    for (size_t layer = 0; layer < forward->model->config.layers; ++layer) {
        forward_block *block = &forward->block[forward->resident ? layer : 0];
        if (!forward->resident) {
            ADAMOE_TRY(forward_block_prepare(forward, layer, block));
        }
        const adamoe_status status = block_step(forward, layer, block, state, hooks);
        if (!forward->resident) {
            forward_block_release(forward, block);
        }
        ADAMOE_TRY(status);
    }
    return adamoe_ok();
}

/* A position whose logits are wanted. */
typedef struct wanted {
    size_t segment, position, row;
} wanted;

static size_t list_wanted(const forward_state *state, wanted *list)
{
    size_t count = 0;
    for (size_t s = 0; s < state->segments; ++s) {
        for (size_t i = state->segment[s].logits_from; i < state->segment[s].count; ++i) {
            list[count++] = (wanted){s, i, state->span[s].first_row + i};
        }
    }
    return count;
}

static adamoe_status check_finite(const float *logits, size_t vocab, const wanted *at)
{
    for (size_t v = 0; v < vocab; ++v) {
        if (!isfinite(logits[v])) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "head: segment %zu, token %zu: logit of vocabulary entry %zu is %s",
                                at->segment, at->position, v, isnan(logits[v]) ? "NaN" : "infinite");
        }
    }
    return adamoe_ok();
}

/* Up to HEAD_ROWS positions: gathers their states (into `normed`, which is free by now), multiplies, reports.
 */
static adamoe_status head_part(const adamoe_forward *forward, adamoe_prepared_matrix *head,
                               forward_state *state, const wanted *list, size_t count, float *logits,
                               const adamoe_batch_hooks *hooks)
{
    const size_t d = forward->model->config.hidden_size, vocab = forward->model->config.vocab_size;
    for (size_t i = 0; i < count; ++i) {
        memcpy(state->update + i * d, state->residual + list[i].row * d, d * sizeof(float));
    }
    forward_rms_norm(forward, &forward->model->final_norm, state->update, count, state->normed);
    ADAMOE_TRY(multiply(forward, state, head, state->normed, count, logits));
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(check_finite(logits + i * vocab, vocab, &list[i]));
        hooks->logits(hooks->context, list[i].segment, list[i].position, logits + i * vocab);
    }
    return adamoe_ok();
}

static adamoe_status run_head_parts(const adamoe_forward *forward, adamoe_prepared_matrix *head,
                                    forward_state *state, const adamoe_batch_hooks *hooks)
{
    wanted *list = calloc(state->rows + 1, sizeof *list);
    float *logits = calloc(HEAD_ROWS * forward->model->config.vocab_size, sizeof *logits);
    adamoe_status status = adamoe_ok();
    if (list == NULL || logits == NULL) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "head: out of memory");
    }
    const size_t count = status.code == ADAMOE_OK ? list_wanted(state, list) : 0;
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; i += HEAD_ROWS) {
        const size_t part = count - i < HEAD_ROWS ? count - i : HEAD_ROWS;
        status = head_part(forward, head, state, list + i, part, logits, hooks);
    }
    free(list);
    free(logits);
    return status;
}

static adamoe_status run_head(adamoe_forward *forward, forward_state *state, const adamoe_batch_hooks *hooks)
{
    if (hooks->logits == NULL) {
        return adamoe_ok();
    }
    if (forward->resident) {
        return run_head_parts(forward, forward->head, state, hooks);
    }
    adamoe_prepared_matrix *head = NULL;
    ADAMOE_TRY(forward->kernel->prepare_matrix(&adamoe_heap_host, &forward->model->head, &forward->placement,
                                               &head));
    const adamoe_status status = run_head_parts(forward, head, state, hooks);
    forward->kernel->release_matrix(head);
    return status;
}

static void embed(const adamoe_model *model, forward_state *state)
{
    const size_t d = model->config.hidden_size;
    for (size_t s = 0; s < state->segments; ++s) {
        for (size_t i = 0; i < state->segment[s].count; ++i) {
            float *row = state->residual + (state->span[s].first_row + i) * d;
            for (size_t c = 0; c < d; ++c) {
                row[c] = adamoe_element(model->embedding.data, model->embedding.dtype,
                                        state->segment[s].token[i] * d + c);
            }
        }
    }
}

adamoe_status adamoe_forward_batch(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks)
{
    ADAMOE_TRY(adamoe_batch_check(&forward->model->config, segment, count));
    forward_state state;
    adamoe_status status = create_state(forward, segment, count, &state);
    if (status.code == ADAMOE_OK) {
        embed(forward->model, &state);
        status = run_layers(forward, &state, hooks);
    }
    if (status.code == ADAMOE_OK) {
        status = run_head(forward, &state, hooks);
    }
    free_state(&state);
    return status;
}

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

static adamoe_status multiply(const adamoe_forward *forward, forward_state *state,
                              adamoe_prepared_matrix *matrix, const float *x, size_t rows, float *y)
{
    ADAMOE_TRY(forward_state_reserve_work(state, forward->kernel->matrix_work_bytes(matrix, rows)));
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
    forward_rms_norm(forward, state, &weights->input_norm, state->residual, state->rows, state->normed);
    ADAMOE_TRY(multiply(forward, state, block->q, state->normed, state->rows, state->query));
    ADAMOE_TRY(multiply(forward, state, block->k, state->normed, state->rows, state->keys));
    ADAMOE_TRY(multiply(forward, state, block->v, state->normed, state->rows, state->values));
    forward_attention(forward, state);
    ADAMOE_TRY(multiply(forward, state, block->o, state->mixed, state->rows, state->update));
    add_update(&forward->model->config, state);
    return adamoe_ok();
}

/* A position in the words of the caller: the batch's rows are not known to it. */
static adamoe_status not_finite(const char *what, size_t segment, size_t position, const char *kind, size_t i,
                                float value)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%ssegment %zu, token %zu: logit of %s %zu is %s", what, segment,
                        position, kind, i, isnan(value) ? "NaN" : "infinite");
}

static adamoe_status check_router_logits(const adamoe_config *config, const forward_state *state)
{
    const size_t all = config->experts + config->null_experts;
    for (size_t s = 0; s < state->segments; ++s) {
        for (size_t i = 0; i < state->span[s].count * all; ++i) {
            const float logit = state->router_logits[state->span[s].first_row * all + i];
            if (!isfinite(logit)) {
                return not_finite("", s, i / all, "expert", i % all, logit);
            }
        }
    }
    return adamoe_ok();
}

/* For a dense layer the logits stay 0: its one expert gets every token with weight 1. */
static adamoe_status make_plan(const adamoe_forward *forward, size_t layer, const forward_block *block,
                               forward_state *state, const adamoe_batch_hooks *hooks, adamoe_plan **plan)
{
    const adamoe_config *config = &forward->model->config;
    if (block->router != NULL) {
        ADAMOE_TRY(multiply(forward, state, block->router, state->normed, state->rows, state->router_logits));
    } else if (block->router_rows != NULL) {
        forward_router(forward, block, state);
    }
    if (block->router_rows != NULL) {
        ADAMOE_TRY(check_router_logits(config, state));
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
    forward_rms_norm(forward, state, &forward->model->block[layer].post_attention_norm, state->residual,
                     state->rows, state->normed);
    ADAMOE_TRY(make_plan(forward, layer, block, state, hooks, &plan));
    adamoe_status status =
        forward_state_reserve_work(state, kernel->work_bytes(block->experts, plan->rows, plan->tokens));
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
        if (layer == 0 && status.code == ADAMOE_OK && forward->kernel->implementation != NULL) {
            forward->kernel->implementation(block->experts, forward->implementation,
                                            sizeof forward->implementation);
        }
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
            return not_finite("head: ", at->segment, at->position, "vocabulary entry", v, logits[v]);
        }
    }
    return adamoe_ok();
}

/* What one part of the head reports. */
typedef struct report {
    const adamoe_batch_hooks *hooks;
    const wanted *list;
    const float *logits;
    size_t vocab_size;
} report;

static void report_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const report *r = context;
    r->hooks->logits(r->hooks->context, r->list[i].segment, r->list[i].position,
                     r->logits + i * r->vocab_size);
}

/* Up to FORWARD_HEAD_ROWS positions: gathers their states (into `update`, which is free by now), multiplies,
 * reports. */
static adamoe_status head_part(const adamoe_forward *forward, adamoe_prepared_matrix *head,
                               forward_state *state, const wanted *list, size_t count,
                               const adamoe_batch_hooks *hooks)
{
    const size_t d = forward->model->config.hidden_size, vocab = forward->model->config.vocab_size;
    for (size_t i = 0; i < count; ++i) {
        memcpy(state->update + i * d, state->residual + list[i].row * d, d * sizeof(float));
    }
    forward_rms_norm(forward, state, &forward->model->final_norm, state->update, count, state->normed);
    ADAMOE_TRY(multiply(forward, state, head, state->normed, count, state->logits));
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(check_finite(state->logits + i * vocab, vocab, &list[i]));
    }
    report r = {hooks, list, state->logits, vocab};
    forward->team->run(forward->team->state, count, report_task, &r);
    return adamoe_ok();
}

static adamoe_status run_head_parts(const adamoe_forward *forward, adamoe_prepared_matrix *head,
                                    forward_state *state, const adamoe_batch_hooks *hooks)
{
    wanted *list = calloc(state->rows + 1, sizeof *list);
    if (list == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "head: out of memory");
    }
    const size_t count = list_wanted(state, list);
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; i += FORWARD_HEAD_ROWS) {
        const size_t part = count - i < FORWARD_HEAD_ROWS ? count - i : FORWARD_HEAD_ROWS;
        status = head_part(forward, head, state, list + i, part, hooks);
    }
    free(list);
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
    ADAMOE_TRY(forward_state_begin(forward, segment, count));
    embed(forward->model, forward->state);
    ADAMOE_TRY(run_layers(forward, forward->state, hooks));
    return run_head(forward, forward->state, hooks);
}

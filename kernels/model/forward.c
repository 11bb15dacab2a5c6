/*
 * The whole model on a kernel of the contract: the order of its steps. What each step computes row by row is
 * in forward_rows.c, the head in forward_head.c, the arrays in forward_state.c.
 */
#include "model/forward.h"
#include "model/forward_parts.h"
#include "model/products.h"
#include "model/span_attention.h"

#include <math.h>
#include <string.h>

/* By the kernel's own attention where it brings one. */
static adamoe_status attend(const adamoe_forward *forward, forward_crew *crew, const forward_part *part,
                            const float *keys, const float *values)
{
    const adamoe_kernel *kernel = forward->kernel;
    adamoe_attention_call call = adamoe_attention_call_of(&forward->model->config);
    call.spans = part->segments;
    call.span = forward->state->span + part->first_segment;
    call.query = crew->query;
    call.key = keys;
    call.value = values;
    call.mixed = crew->mixed;
    const uint32_t threads = crew->run.team->threads;
    if (kernel->attention != NULL) {
        const size_t bytes =
            kernel->attention_work_bytes == NULL ? 0 : kernel->attention_work_bytes(&call, threads);
        ADAMOE_TRY(forward_reserve_work(crew, bytes));
        return kernel->attention(&crew->run, &call);
    }
    ADAMOE_TRY(forward_reserve_work(crew, adamoe_span_attention_work_bytes(&call, threads)));
    return adamoe_span_attention(&crew->run, &call);
}

/* With a cache, which is of one sequence and so of one part, the new keys and values are computed into their
 * places behind the old ones. */
static adamoe_status attention_step(const adamoe_forward *forward, forward_crew *crew, size_t layer,
                                    const forward_block *block, const forward_part *part)
{
    forward_state *state = forward->state;
    const adamoe_key_value_cache *cache = state->cache;
    float *keys = crew->keys, *values = crew->values;
    size_t behind = 0;
    if (cache != NULL) {
        keys = adamoe_key_value_cache_keys(cache, layer);
        values = adamoe_key_value_cache_values(cache, layer);
        behind = cache->length * cache->width;
    }
    const size_t at = part->rows.first * forward->model->config.hidden_size;
    forward_norm(forward, crew, &block->gains.input_norm, part->rows,
                 state->has_update ? state->update + at : NULL, state->normed + at);
    forward_end_stage(crew->clock, ADAMOE_FORWARD_NORMS);
    ADAMOE_TRY(forward_project(forward, crew, block, part->rows, keys + behind, values + behind));
    const adamoe_status status = attend(forward, crew, part, keys, values);
    forward_end_stage(crew->clock, ADAMOE_FORWARD_ATTENTION);
    return status;
}

static adamoe_status check_router_logits(const adamoe_forward *forward, const forward_part *part)
{
    const adamoe_config *config = &forward->model->config;
    const forward_state *state = forward->state;
    const size_t all = config->experts + config->null_experts;
    const float *logits = state->routing.routing.logits + part->rows.first * all;
    if (forward->ops->all_finite(logits, part->rows.count * all)) {
        return adamoe_ok();
    }
    for (size_t s = part->first_segment; s < part->first_segment + part->segments; ++s) {
        for (size_t i = 0; i < state->segment[s].count * all; ++i) {
            if (!isfinite(logits[i])) {
                return forward_not_finite("", s, i / all, "expert", i % all, logits[i]);
            }
        }
        logits += state->segment[s].count * all;
    }
    return adamoe_ok();
}

/* For a dense layer the logits are 0: its one expert gets every token with weight 1. */
static adamoe_status router_logits(const adamoe_forward *forward, forward_crew *crew,
                                   const forward_block *block, forward_rows rows, float *logits)
{
    const adamoe_config *config = &forward->model->config;
    const size_t all = config->experts + config->null_experts;
    const forward_dense *dense = &block->dense[crew->copy];
    if (dense->router != NULL) {
        return forward_multiply(forward, crew, dense->router,
                                forward->state->normed + rows.first * config->hidden_size, rows.count,
                                logits + rows.first * all);
    }
    if (block->router_rows != NULL) {
        forward_router(forward, crew, block, rows, logits);
    } else {
        memset(logits + rows.first * all, 0, rows.count * all * sizeof *logits);
    }
    return adamoe_ok();
}

/* Some tokens of a routing. */
static adamoe_routing rows_of_routing(const adamoe_routing *routing, forward_rows rows)
{
    const size_t all = routing->experts + routing->null_experts, k = routing->rule.top_k;
    adamoe_routing some = *routing;
    some.tokens = rows.count;
    some.id += rows.first * k;
    some.weight += rows.first * k;
    some.probability += rows.first * k;
    some.logits += rows.first * all;
    some.probabilities += rows.first * all;
    return some;
}

/* The part's logits, and its routing unless a router that sees the whole batch makes it. */
static adamoe_status route_part(const adamoe_forward *forward, forward_crew *crew, const forward_block *block,
                                const forward_part *part)
{
    adamoe_routing *routing = &forward->state->routing.routing;
    ADAMOE_TRY(router_logits(forward, crew, block, part->rows, routing->logits));
    ADAMOE_TRY(check_router_logits(forward, part));
    if (forward->router != NULL || forward->kernel->route != NULL) {
        return adamoe_ok();
    }
    adamoe_routing some = rows_of_routing(routing, part->rows);
    return adamoe_route(&crew->run, &some);
}

/* What attention adds to the residual, the inputs of the experts, and how they are routed. */
static adamoe_status finish_attention(const adamoe_forward *forward, forward_crew *crew,
                                      const forward_block *block, const forward_part *part)
{
    forward_state *state = forward->state;
    const size_t at = part->rows.first * forward->model->config.hidden_size;
    ADAMOE_TRY(forward_output(forward, crew, block, part->rows, state->update + at));
    forward_norm(forward, crew, &block->gains.post_attention_norm, part->rows, state->update + at,
                 state->normed + at);
    forward_end_stage(crew->clock, ADAMOE_FORWARD_NORMS);
    const adamoe_status status = state->has_plan ? adamoe_ok() : route_part(forward, crew, block, part);
    forward_end_stage(crew->clock, ADAMOE_FORWARD_ROUTER);
    return status;
}

/* By the kernel's own router where it brings one. */
static adamoe_status make_plan(const adamoe_forward *forward, size_t layer, const adamoe_batch_hooks *hooks)
{
    const adamoe_config *config = &forward->model->config;
    const adamoe_kernel *kernel = forward->kernel;
    forward_state *state = forward->state;
    adamoe_routing *routing = &state->routing.routing;
    if (state->has_plan) {
        return adamoe_ok();
    }
    if (kernel->route != NULL) {
        ADAMOE_TRY(kernel->route(&state->whole.run, routing));
    }
    forward_end_stage(forward->clock, ADAMOE_FORWARD_ROUTER);
    if (hooks->routed != NULL && !config->architecture.dense) {
        hooks->routed(hooks->context, layer, routing);
    }
    state->has_plan = config->architecture.dense;
    forward_end_stage(forward->clock, ADAMOE_FORWARD_OTHER);
    const adamoe_status status = adamoe_plan_build(forward->team, routing, &state->plan);
    forward_end_stage(forward->clock, ADAMOE_FORWARD_PLAN);
    return status;
}

static adamoe_status plan_by_router(const adamoe_forward *forward, size_t layer,
                                    const adamoe_batch_hooks *hooks)
{
    forward_state *state = forward->state;
    adamoe_routed_layer_free(&state->routed);
    ADAMOE_TRY(adamoe_model_router_run(forward->router, layer, &forward->model->block[layer].moe,
                                       state->normed, state->rows, state->routing.routing.logits,
                                       &state->routed));
    forward_end_stage(forward->clock, ADAMOE_FORWARD_ROUTER);
    if (hooks->planned != NULL) {
        hooks->planned(hooks->context, layer, state->routed.routed.plan);
    }
    forward_end_stage(forward->clock, ADAMOE_FORWARD_OTHER);
    return adamoe_ok();
}

static adamoe_status expert_step(const adamoe_forward *forward, size_t layer, const forward_block *block,
                                 const adamoe_batch_hooks *hooks)
{
    const adamoe_kernel *kernel = forward->kernel;
    forward_state *state = forward->state;
    ADAMOE_TRY(forward->router == NULL ? make_plan(forward, layer, hooks)
                                       : plan_by_router(forward, layer, hooks));
    const adamoe_plan *plan = forward->router == NULL ? &state->plan.plan : state->routed.routed.plan;
    ADAMOE_TRY(
        forward_reserve_work(&state->whole, kernel->work_bytes(block->experts, plan->rows, plan->tokens)));
    ADAMOE_TRY(kernel->experts(block->experts, &state->whole.run, state->normed, plan, state->update));
    ADAMOE_TRY(forward_shared(forward, block));
    forward_end_stage(forward->clock, ADAMOE_FORWARD_EXPERTS);
    state->has_update = true;
    return adamoe_ok();
}

/* Everything but the experts. */
static adamoe_status part_step(const adamoe_forward *forward, forward_crew *crew, size_t layer,
                               const forward_block *block, const forward_part *part)
{
    ADAMOE_TRY(attention_step(forward, crew, layer, block, part));
    return finish_attention(forward, crew, block, part);
}

static adamoe_status parts_step(const adamoe_forward *forward, size_t layer, const forward_block *block)
{
    const adamoe_config *config = &forward->model->config;
    forward_state *state = forward->state;
    if (!state->has_plan) {
        ADAMOE_TRY(adamoe_routing_space_begin(&state->routing, state->rows, config->experts,
                                              config->null_experts, config->rule));
    }
    return forward_each_part(forward, layer, block, part_step);
}

static adamoe_status block_step(const adamoe_forward *forward, size_t layer, const forward_block *block,
                                const adamoe_batch_hooks *hooks)
{
    adamoe_status status = parts_step(forward, layer, block);
    if (status.code == ADAMOE_OK) {
        status = expert_step(forward, layer, block, hooks);
    }
    return status.code == ADAMOE_OK ? status
                                    : adamoe_error(status.code, "layer %zu: %.400s", layer, status.message);
}

static adamoe_status run_layers(adamoe_forward *forward, const adamoe_batch_hooks *hooks)
{
    for (size_t layer = 0; layer < forward->model->config.layers; ++layer) {
        forward_block *block = &forward->block[forward->resident ? layer : 0];
        if (!forward->resident) {
            ADAMOE_TRY(forward_block_prepare(forward, layer, block));
            forward_end_stage(forward->clock, ADAMOE_FORWARD_PACKING);
        }
        const adamoe_status status = block_step(forward, layer, block, hooks);
        if (layer == 0 && status.code == ADAMOE_OK && forward->kernel->implementation != NULL) {
            forward->kernel->implementation(block->experts, forward->implementation,
                                            sizeof forward->implementation);
        }
        if (!forward->resident) {
            forward_block_release(forward, block);
            forward_end_stage(forward->clock, ADAMOE_FORWARD_PACKING);
        }
        ADAMOE_TRY(status);
    }
    return adamoe_ok();
}

static adamoe_status run_body(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                              adamoe_key_value_cache *cache, const adamoe_batch_hooks *hooks)
{
    if (forward->clock != NULL) {
        forward->clock->last = adamoe_now();
    }
    ADAMOE_TRY(adamoe_batch_check(&forward->model->config, segment, count));
    ADAMOE_TRY(forward_state_begin(forward, segment, count, cache));
    forward_embed(forward);
    forward_end_stage(forward->clock, ADAMOE_FORWARD_OTHER);
    return run_layers(forward, hooks);
}

/* The positions that the segments ask for. */
static void list_wanted(forward_state *state)
{
    state->wanted_count = 0;
    for (size_t s = 0, row = 0; s < state->segments; ++s) {
        for (size_t i = state->segment[s].logits_from; i < state->segment[s].count; ++i) {
            state->wanted[state->wanted_count++] = (forward_wanted){s, i, row + i, 0};
        }
        row += state->segment[s].count;
    }
}

static adamoe_status run_head(adamoe_forward *forward, const adamoe_batch_hooks *hooks)
{
    if (hooks->logits == NULL || forward->state->segments == 0) {
        return adamoe_ok();
    }
    list_wanted(forward->state);
    return forward_head_logits(forward, hooks);
}

const char *const adamoe_forward_stage_names[ADAMOE_FORWARD_STAGES] = {
    "router", "plan", "experts",     "projections", "attention",
    "norms",  "head", "log_softmax", "packing",     "other",
};

void adamoe_forward_time_stages(adamoe_forward *forward, adamoe_forward_clock *clock)
{
    forward->clock = clock;
}

adamoe_status adamoe_forward_use_router(adamoe_forward *forward, const adamoe_model_router *router)
{
    if (forward->model->config.architecture.dense) {
        return adamoe_error(ADAMOE_BAD_INPUT, "router %s: a dense model has no router", router->router->name);
    }
    forward->router = router;
    return adamoe_ok();
}

adamoe_status adamoe_forward_batch(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks)
{
    ADAMOE_TRY(run_body(forward, segment, count, NULL, hooks));
    return run_head(forward, hooks);
}

/* The positions of the targets, each once. */
static void list_targets(forward_state *state, const adamoe_target *target, size_t targets)
{
    size_t segment = 0, first_row = 0;
    state->wanted_count = 0;
    for (size_t t = 0; t < targets; ++t) {
        for (; segment < target[t].segment; ++segment) {
            first_row += state->segment[segment].count;
        }
        if (t == 0 || target[t].segment != target[t - 1].segment ||
            target[t].position != target[t - 1].position) {
            state->wanted[state->wanted_count++] =
                (forward_wanted){segment, target[t].position, first_row + target[t].position, t};
        }
    }
    state->wanted[state->wanted_count].first_target = targets;
}

static adamoe_status check_targets(const adamoe_config *config, const adamoe_segment *segment, size_t count,
                                   const adamoe_target *target, size_t targets)
{
    for (size_t t = 0; t < targets; ++t) {
        if (target[t].segment >= count || target[t].position >= segment[target[t].segment].count ||
            target[t].token >= config->vocab_size) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "batch: target %zu: token %u after token %zu of segment %zu", t,
                                target[t].token, target[t].position, target[t].segment);
        }
        if (t > 0 &&
            (target[t].segment < target[t - 1].segment ||
             (target[t].segment == target[t - 1].segment && target[t].position < target[t - 1].position))) {
            return adamoe_error(ADAMOE_BAD_INPUT, "batch: target %zu: it comes before the one before it", t);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_forward_score(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks, const adamoe_target *target,
                                   size_t targets, double *log_probability)
{
    ADAMOE_TRY(check_targets(&forward->model->config, segment, count, target, targets));
    ADAMOE_TRY(run_body(forward, segment, count, NULL, hooks));
    if (targets == 0) {
        return adamoe_ok();
    }
    list_targets(forward->state, target, targets);
    return forward_head_score(forward, target, log_probability);
}

adamoe_status adamoe_forward_continue(adamoe_forward *forward, adamoe_key_value_cache *cache,
                                      const uint32_t *token, size_t count, const adamoe_batch_hooks *hooks)
{
    const adamoe_config *config = &forward->model->config;
    const adamoe_segment segment = {token, count, ADAMOE_NO_PARENT, count == 0 ? 0 : count - 1};
    if (cache->layers != config->layers || cache->width != config->key_value_heads * config->head_dim) {
        return adamoe_error(ADAMOE_BAD_INPUT, "key-value cache: made for %zu layers of %zu, not %zu of %zu",
                            cache->layers, cache->width, config->layers,
                            config->key_value_heads * config->head_dim);
    }
    if (cache->length > cache->capacity || count > cache->capacity - cache->length) {
        return adamoe_error(ADAMOE_BAD_INPUT, "key-value cache: %zu tokens behind %zu, room for %zu", count,
                            cache->length, cache->capacity);
    }
    ADAMOE_TRY(run_body(forward, &segment, 1, cache, hooks));
    ADAMOE_TRY(run_head(forward, hooks));
    cache->length += count;
    return adamoe_ok();
}

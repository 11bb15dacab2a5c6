/*
 * The shared expert, which every token has beside those that it selected: a layer of one expert to the kernel, and a
 * plan in which every token's place is weighted by sigmoid(shared_gate . x). The gate is float32 whatever the kernel
 * rounds: it is a router of one row.
 */
#include "model/forward_parts.h"
#include "model/rows.h"

#include <math.h>

adamoe_status forward_shared_prepare(const adamoe_forward *forward, size_t layer, forward_block *block)
{
    const adamoe_config *config = &forward->model->config;
    const adamoe_matrix none = {.dtype = ADAMOE_F32, .columns = config->hidden_size};
    const adamoe_layer shared = {.hidden_size = config->hidden_size,
                                 .intermediate_size = config->shared_intermediate_size,
                                 .experts = 1,
                                 .gate = none,
                                 .gate2 = none,
                                 .expert = &forward->model->block[layer].shared};
    return config->architecture.shared_expert
               ? forward->kernel->prepare(&forward->host, &shared, &forward->placement, &block->shared)
               : adamoe_ok();
}

typedef struct shared_call {
    const adamoe_forward *forward;
    const float *gate; /* [hidden_size] */
} shared_call;

static void gate_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const shared_call *call = context;
    const forward_state *state = call->forward->state;
    const size_t d = call->forward->model->config.hidden_size;
    const float logit = call->forward->ops->dot(state->normed + row * d, call->gate, d);
    state->shared_scale[row] = (float)(1.0 / (1.0 + exp(-(double)logit)));
    state->identity[row] = (uint32_t)row;
}

static void add_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const shared_call *call = context;
    const forward_state *state = call->forward->state;
    const size_t d = call->forward->model->config.hidden_size;
    call->forward->ops->add(state->update + row * d, state->shared + row * d, d);
}

/* Every token is one row of the one expert. */
static adamoe_plan plan_of(forward_state *state)
{
    const size_t rows = state->rows;
    state->shared_offset[1] = (uint32_t)rows;
    state->identity[rows] = (uint32_t)rows;
    return (adamoe_plan){.tokens = rows,
                         .inputs = rows,
                         .rows = rows,
                         .experts = 1,
                         .offset = state->shared_offset,
                         .input = state->identity,
                         .token_offset = state->identity,
                         .token_row = state->identity,
                         .combine = state->shared_scale};
}

adamoe_status forward_shared(const adamoe_forward *forward, const forward_block *block)
{
    forward_state *state = forward->state;
    const shared_call call = {forward, block->gains.shared_gate.data};
    if (block->shared == NULL || state->rows == 0) {
        return adamoe_ok();
    }
    adamoe_each_row(forward->team, state->rows, gate_row, &call);
    const adamoe_plan plan = plan_of(state);
    ADAMOE_TRY(forward_reserve_work(&state->whole,
                                    forward->kernel->work_bytes(block->shared, plan.rows, plan.tokens)));
    ADAMOE_TRY(
        forward->kernel->experts(block->shared, &state->whole.run, state->normed, &plan, state->shared));
    adamoe_each_row(forward->team, state->rows, add_row, &call);
    return adamoe_ok();
}

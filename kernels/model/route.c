/*
 * From router logits to the selected experts and their weights (reference/README.md section 2).
 */
#include "model/route.h"
#include "router.h"
#include "vector/vector_ops.h"

#include <math.h>
#include <stdlib.h>

#define TOKENS_PER_TASK 64

static void free_arrays(adamoe_routing *routing)
{
    free(routing->id);
    free(routing->weight);
    free(routing->probability);
    free(routing->logits);
    free(routing->probabilities);
    routing->id = NULL;
    routing->weight = routing->probability = routing->logits = routing->probabilities = NULL;
}

static void *new_array(size_t rows, size_t columns, size_t size)
{
    return columns > SIZE_MAX / size ? NULL : calloc(rows + 1, columns * size); /* calloc(0) may give NULL */
}

static adamoe_status make_room(adamoe_routing_space *space, size_t tokens, size_t all, size_t k)
{
    if (tokens <= space->room && all <= space->experts && k <= space->top_k) {
        return adamoe_ok();
    }
    adamoe_routing *r = &space->routing;
    free_arrays(r);
    const size_t room = tokens > space->room ? tokens : space->room;
    space->room = 0;
    r->id = new_array(room, k, sizeof *r->id);
    r->weight = new_array(room, k, sizeof *r->weight);
    r->probability = new_array(room, k, sizeof *r->probability);
    r->logits = new_array(room, all, sizeof *r->logits);
    r->probabilities = new_array(room, all, sizeof *r->probabilities);
    if (r->id == NULL || r->weight == NULL || r->probability == NULL || r->logits == NULL ||
        r->probabilities == NULL) {
        free_arrays(r);
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", room);
    }
    space->room = room;
    space->experts = all;
    space->top_k = k;
    return adamoe_ok();
}

adamoe_status adamoe_routing_space_begin(adamoe_routing_space *space, size_t tokens, size_t experts,
                                         size_t null_experts, adamoe_rule rule)
{
    if (experts == 0 || experts > UINT32_MAX || null_experts > UINT32_MAX - experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "experts: %zu true and %zu null are not between 1 and 2^32 - 1",
                            experts, null_experts);
    }
    if (rule.top_k == 0 || rule.top_k > experts + null_experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "top-k: %zu is not between 1 and %zu, the number of experts",
                            rule.top_k, experts + null_experts);
    }
    ADAMOE_TRY(make_room(space, tokens, experts + null_experts, rule.top_k));
    space->routing.tokens = tokens;
    space->routing.experts = experts;
    space->routing.null_experts = null_experts;
    space->routing.rule = rule;
    return adamoe_ok();
}

void adamoe_routing_space_free(adamoe_routing_space *space)
{
    free_arrays(&space->routing);
    *space = (adamoe_routing_space){0};
}

/* w = softmax over the logits of the selected experts that count, 0 for the others. Those that count are
 * packed in front, and spread again from the last one on. */
static void normalised_weights(const adamoe_vector_ops *ops, const adamoe_routing *routing,
                               const float *logits, const uint32_t *id, float *weight)
{
    const bool only_true = adamoe_weightings[routing->rule.norm].over == ADAMOE_OVER_TRUE;
    size_t counted = 0;
    for (size_t j = 0; j < routing->rule.top_k; ++j) {
        if (id[j] < routing->experts || !only_true) {
            weight[counted++] = logits[id[j]];
        }
    }
    if (counted == 1) {
        weight[0] = 1.0f;
    } else if (counted > 1) {
        ops->softmax(weight, counted, weight);
    }
    for (size_t j = routing->rule.top_k; j-- > 0;) {
        const bool is_true = id[j] < routing->experts;
        const float own = is_true || !only_true ? weight[--counted] : 0.0f;
        weight[j] = is_true ? own : 0.0f;
    }
}

/* w = softmax over every true expert's logit, by way of an array [n] that is free. */
static void weights_over_every(const adamoe_vector_ops *ops, const adamoe_routing *routing,
                               const float *logits, const uint32_t *id, float *free_array, float *weight)
{
    ops->softmax(logits, routing->experts, free_array);
    for (size_t j = 0; j < routing->rule.top_k; ++j) {
        weight[j] = id[j] < routing->experts ? free_array[id[j]] : 0.0f;
    }
}

static void token_weights(const adamoe_vector_ops *ops, const adamoe_routing *routing, const float *logits,
                          const float *probability, const uint32_t *id, float *weight)
{
    const adamoe_weighting *weighting = &adamoe_weightings[routing->rule.norm];
    switch (weighting->over) {
    case ADAMOE_OVER_TRUE:
    case ADAMOE_OVER_SELECTED:
        normalised_weights(ops, routing, logits, id, weight);
        return;
    case ADAMOE_OVER_EVERY: /* done before the probabilities, in whose place */
        return;
    case ADAMOE_OVER_ALL: /* the probabilities themselves */
    case ADAMOE_OVER_NOTHING:
        weighting->weigh(routing, logits, probability, id, weight);
        return;
    }
}

static void route_token(const adamoe_vector_ops *ops, adamoe_routing *routing, size_t token)
{
    const size_t all = routing->experts + routing->null_experts, k = routing->rule.top_k;
    const float *logits = routing->logits + token * all;
    float *probabilities = routing->probabilities + token * all;
    uint32_t *id = routing->id + token * k;
    float *probability = routing->probability + token * k, *weight = routing->weight + token * k;
    ops->top_k(logits, all, k, id);
    if (adamoe_weightings[routing->rule.norm].over == ADAMOE_OVER_EVERY) {
        weights_over_every(ops, routing, logits, id, probabilities, weight);
    }
    ops->softmax(logits, all, probabilities);
    for (size_t j = 0; j < k; ++j) {
        probability[j] = probabilities[id[j]];
    }
    token_weights(ops, routing, logits, probability, id, weight);
}

typedef struct route_call {
    const adamoe_vector_ops *ops;
    adamoe_routing *routing;
} route_call;

static void route_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const route_call *call = context;
    const size_t end = (i + 1) * TOKENS_PER_TASK, tokens = call->routing->tokens;
    for (size_t t = i * TOKENS_PER_TASK; t < (end < tokens ? end : tokens); ++t) {
        route_token(call->ops, call->routing, t);
    }
}

static adamoe_status check_logits(const adamoe_vector_ops *ops, const adamoe_routing *routing)
{
    const size_t all = routing->experts + routing->null_experts;
    if (ops->all_finite(routing->logits, routing->tokens * all)) {
        return adamoe_ok();
    }
    size_t i = 0;
    while (isfinite(routing->logits[i])) {
        ++i;
    }
    return adamoe_error(ADAMOE_BAD_INPUT, "token %zu: logit of expert %zu is %s", i / all, i % all,
                        isnan(routing->logits[i]) ? "NaN" : "infinite");
}

adamoe_status adamoe_route(const adamoe_run *run, adamoe_routing *routing)
{
    route_call call = {adamoe_vector_ops_best(), routing};
    ADAMOE_TRY(check_logits(call.ops, routing));
    run->team->run(run->team->state, (routing->tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK, route_task,
                   &call);
    return adamoe_ok();
}

/*
 * The expert layer with its router, and its gradient: x -> logits -> weights of the given selection -> plan.
 */
#include "gradient/gradient.h"
#include "plan.h"

#include <stdlib.h>

/* What the layer's value and its gradient both need: the selection as a plan, with the weights that x gives
 * in double. */
typedef struct layer_state {
    const adamoe_layer *layer;
    const adamoe_routing *routing;
    adamoe_plan *plan;
    adamoe_plan_weights weights;
    double *logits;      /* [n + m] of one token */
    double *dlogits;     /* [n + m] */
    double *probability; /* [n + m] of one token */
    double *weight;      /* [k] of one token, in the order of its ids */
    double *work;
} layer_state;

static void free_state(layer_state *s)
{
    adamoe_plan_free(s->plan);
    free(s->weights.combine);
    free(s->weights.self_scale);
    free(s->logits);
    free(s->dlogits);
    free(s->probability);
    free(s->weight);
    free(s->work);
}

static bool allocate_weights(const adamoe_plan *plan, adamoe_plan_weights *weights)
{
    weights->combine = calloc(plan->rows + 1, sizeof *weights->combine); /* + 1: calloc(0) may give NULL */
    weights->self_scale =
        plan->self_scale == NULL ? NULL : calloc(plan->tokens + 1, sizeof *weights->self_scale);
    return weights->combine != NULL && (plan->self_scale == NULL || weights->self_scale != NULL);
}

static bool allocate_state(layer_state *s)
{
    const size_t all = s->layer->experts + s->layer->null_experts;
    s->logits = calloc(all, sizeof *s->logits);
    s->dlogits = calloc(all, sizeof *s->dlogits);
    s->probability = calloc(all, sizeof *s->probability);
    s->weight = calloc(s->routing->rule.top_k, sizeof *s->weight);
    s->work = calloc(adamoe_plan_backward_work(s->layer), sizeof *s->work);
    return allocate_weights(s->plan, &s->weights) && s->logits != NULL && s->dlogits != NULL &&
           s->probability != NULL && s->weight != NULL && s->work != NULL;
}

static adamoe_status out_of_memory(const adamoe_routing *routing)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "expert layer: out of memory for %zu tokens", routing->tokens);
}

/* The place of a token's list where expert `id` stands. */
static size_t place_of(const adamoe_plan *plan, size_t token, uint32_t id)
{
    size_t i = plan->token_offset[token];
    while (adamoe_plan_expert(plan, plan->token_row[i]) != id) {
        ++i;
    }
    return i;
}

/* Logits and weights of one token. */
static adamoe_token_weights weigh(layer_state *s, size_t token, const double *x)
{
    const adamoe_routing *routing = s->routing;
    adamoe_token_weights out = {.probability = s->probability, .weight = s->weight};
    adamoe_router_logits_double(s->layer, x + token * s->layer->hidden_size, s->logits);
    adamoe_token_weights_double(routing->rule, routing->experts, routing->null_experts, s->logits,
                                routing->id + token * routing->rule.top_k, &out);
    return out;
}

static void fill_weights(layer_state *s, const double *x, double *probability_sums)
{
    const size_t all = s->routing->experts + s->routing->null_experts, k = s->routing->rule.top_k;
    for (size_t t = 0; t < s->routing->tokens; ++t) {
        const adamoe_token_weights w = weigh(s, t, x);
        for (size_t j = 0; j < k; ++j) {
            const uint32_t id = s->routing->id[t * k + j];
            if (id < s->routing->experts) {
                s->weights.combine[place_of(s->plan, t, id)] = w.weight[j];
            }
        }
        if (s->weights.self_scale != NULL) {
            s->weights.self_scale[t] = w.self;
        }
        for (size_t i = 0; i < all && probability_sums != NULL; ++i) {
            probability_sums[i] += w.probability[i];
        }
    }
}

static adamoe_status make_state(const adamoe_layer *layer, const adamoe_routing *routing, const double *x,
                                double *probability_sums, layer_state *s)
{
    *s = (layer_state){.layer = layer, .routing = routing};
    ADAMOE_TRY(adamoe_plan_create(routing, &s->plan));
    if (!allocate_state(s)) {
        free_state(s);
        return out_of_memory(routing);
    }
    fill_weights(s, x, probability_sums);
    return adamoe_ok();
}

adamoe_status adamoe_layer_double(const adamoe_layer *layer, const adamoe_routing *routing, const double *x,
                                  double *y, double *probability_sums)
{
    layer_state s;
    for (size_t i = 0; i < routing->experts + routing->null_experts && probability_sums != NULL; ++i) {
        probability_sums[i] = 0.0;
    }
    ADAMOE_TRY(make_state(layer, routing, x, probability_sums, &s));
    adamoe_plan_double(layer, x, s.plan, &s.weights, y, s.work);
    free_state(&s);
    return adamoe_ok();
}

/* One token, from the derivatives of its weights to those of the router and of x. */
static void token_backward(layer_state *s, size_t token, const double *x, const double *slope,
                           const adamoe_plan_weights *dweights, double *dx,
                           const adamoe_layer_gradient *gradient)
{
    const adamoe_routing *routing = s->routing;
    const size_t all = routing->experts + routing->null_experts, k = routing->rule.top_k;
    const size_t at = token * s->layer->hidden_size;
    const uint32_t *id = routing->id + token * k;
    adamoe_router_logits_double(s->layer, x + at, s->logits);
    adamoe_token_weights derivative = {.probability = s->probability, .weight = s->weight};
    for (size_t i = 0; i < all; ++i) {
        derivative.probability[i] = slope == NULL ? 0.0 : slope[i];
        s->dlogits[i] = 0.0;
    }
    for (size_t j = 0; j < k; ++j) {
        derivative.weight[j] =
            id[j] < routing->experts ? dweights->combine[place_of(s->plan, token, id[j])] : 0.0;
    }
    derivative.self = dweights->self_scale == NULL ? 0.0 : dweights->self_scale[token];
    adamoe_token_weights_backward(routing->rule, routing->experts, routing->null_experts, s->logits, id,
                                  &derivative, s->dlogits);
    adamoe_router_backward(s->layer, x + at, s->dlogits, dx == NULL ? NULL : dx + at, gradient);
}

adamoe_status adamoe_layer_backward(const adamoe_layer *layer, const adamoe_routing *routing, const double *x,
                                    const double *slope, const double *dy, double *dx,
                                    const adamoe_layer_gradient *gradient)
{
    layer_state s;
    adamoe_plan_weights dweights = {NULL, NULL};
    ADAMOE_TRY(make_state(layer, routing, x, NULL, &s));
    const bool complete = allocate_weights(s.plan, &dweights);
    if (complete) {
        adamoe_plan_backward(layer, x, s.plan, &s.weights, dy, dx, gradient->expert, &dweights, s.work);
        for (size_t t = 0; t < routing->tokens; ++t) {
            token_backward(&s, t, x, slope, &dweights, dx, gradient);
        }
    }
    free(dweights.combine);
    free(dweights.self_scale);
    free_state(&s);
    return complete ? adamoe_ok() : out_of_memory(routing);
}

/*
 * LocMoE (Li et al., arXiv 2401.13920, its equations 2 to 9): reference/README.md section 12.7. Experts stand for
 * groups of channels, so that there is no gate; the loss draws tokens to experts of their own node.
 */
#include "routers/parts.h"

#include <math.h>

enum { CAPACITY_FACTOR, ALPHA, DELTA, MU, ETA, NODES };

static const adamoe_router_parameter parameters[] = {
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [DELTA] = {.name = "delta",
               .kind = ADAMOE_PARAMETER_NUMBER,
               .need = ADAMOE_PARAMETER_OPTIONAL,
               .low = 0.0,
               .high = 1.0,
               .high_open = true},
    ADAMOE_LOCALITY_PARAMETERS,
};

static adamoe_locality locality_of(const adamoe_router_call *call)
{
    return (adamoe_locality){call->value[ALPHA], call->value[MU], call->value[ETA], call->value[NODES]};
}

/* g_i = max(0, mean of the i-th group of channels). */
static adamoe_status group_means(const adamoe_router_call *call, adamoe_routed *out, double **g)
{
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts;
    size_t group = 0;
    ADAMOE_TRY(adamoe_channel_group(call, &group));
    ADAMOE_TRY(adamoe_routed_numbers(out, "logits", S, n, g));
    for (size_t s = 0; s < S; ++s) {
        for (size_t i = 0; i < n; ++i) {
            double sum = 0.0;
            for (size_t c = i * group; c < (i + 1) * group; ++c) {
                sum += (double)call->hidden_states[s * d + c];
            }
            const double mean = sum / (double)group;
            (*g)[s * n + i] = mean < 0.0 ? 0.0 : mean; /* NaN stays, and is refused */
        }
    }
    return adamoe_router_check_logits(*g, S, n);
}

/* C = min(S, max(capacity(S, n, c), ceil(C_min))) with C_min = 1 / (n p_delta) where there is a delta. */
static adamoe_status choose_capacity(const adamoe_router_call *call, adamoe_routed *out, size_t *capacity)
{
    const size_t S = call->tokens, n = call->experts;
    const double delta = call->value[DELTA];
    double slots = (double)adamoe_capacity((double)S, n, call->value[CAPACITY_FACTOR]);
    if (!isnan(delta)) {
        const double bound = 1.0 / ((double)n * adamoe_cosine_tail(delta, call->hidden_size));
        ADAMOE_TRY(adamoe_routed_number(out, "capacity_bound", bound));
        slots = fmax(slots, ceil(bound));
    }
    *capacity = slots < (double)S ? (size_t)slots : S;
    return adamoe_ok();
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    adamoe_slots placement;
    double *g, *scores;
    int64_t *choice;
    size_t capacity;
    ADAMOE_TRY(group_means(call, out, &g));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, n, &scores));
    adamoe_softmax_rows(g, S, n, scores);
    ADAMOE_TRY(adamoe_choose(call, g, n, 1, out, &choice));
    ADAMOE_TRY(choose_capacity(call, out, &capacity));
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    ADAMOE_TRY(adamoe_place_evenly(call, choice, 1, capacity, NULL, out, &placement));
    for (size_t i = 0; i < S * n; ++i) {
        placement.weight[i] = scores[i];
    }
    ADAMOE_TRY(adamoe_locality_losses(call, locality_of(call), scores, choice, 1, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts, group = d / n;
    const double *g = adamoe_routed_numbers_of(routed, "logits");
    const double *scores = adamoe_routed_numbers_of(routed, "scores");
    double *dscores, *dg;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dg));
    adamoe_combine_backward(routed, derivative, n, dscores);
    ADAMOE_TRY(adamoe_locality_losses_backward(call, locality_of(call), scores,
                                               adamoe_routed_integers_of(routed, "choice"), 1, derivative,
                                               routed, dscores));
    adamoe_softmax_rows_backward(scores, dscores, S, n, dg);
    for (size_t i = 0; i < S * d && gradient->hidden_states != NULL; ++i) {
        const size_t at = i / d * n + i % d / group;
        gradient->hidden_states[i] += g[at] > 0.0 ? dg[at] / (double)group : 0.0;
    }
    return adamoe_ok();
}

ADAMOE_ROUTER(locmoe, "the largest group of channels, with a loss for locality", backward, "balance",
              "locality");

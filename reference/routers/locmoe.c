/*
 * LocMoE (Li et al., arXiv 2401.13920, its equations 2 to 9): reference/README.md section 12.7. Experts stand for
 * groups of channels, so that there is no gate; the loss draws tokens to experts of their own node.
 */
#include "routers/parts.h"

#include <math.h>

enum { CAPACITY_FACTOR, ALPHA, DELTA, MU, ETA, NODES };

static const adamoe_router_parameter parameters[] = {
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [ALPHA] = ADAMOE_NUMBER("alpha", 0.0, ADAMOE_ANY, 0.01),
    [DELTA] = {.name = "delta",
               .kind = ADAMOE_PARAMETER_NUMBER,
               .need = ADAMOE_PARAMETER_OPTIONAL,
               .low = 0.0,
               .high = 1.0,
               .high_open = true},
    [MU] = ADAMOE_NUMBER("mu", 0.0, ADAMOE_ANY, 0.01),
    [ETA] = {.name = "eta",
             .kind = ADAMOE_PARAMETER_NUMBER,
             .standard = 0.1,
             .low = 0.0,
             .low_open = true,
             .high = 1.0},
    [NODES] = {.name = "nodes",
               .kind = ADAMOE_PARAMETER_COUNT,
               .need = ADAMOE_PARAMETER_REQUIRED,
               .low = 1.0,
               .high = ADAMOE_ANY_COUNT},
};

/* g_i = max(0, mean of the i-th group of channels). */
static adamoe_status group_means(const adamoe_router_call *call, adamoe_routed *out, double **g)
{
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts, group = d / n;
    if (d % n != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "hidden_size: %zu is no multiple of %zu experts", d, n);
    }
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

static adamoe_status add_losses(const adamoe_router_call *call, const double *scores, const int64_t *choice,
                                adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    double *count;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, n, 1, &count));
    adamoe_count_choices(choice, S, n, count);
    ADAMOE_TRY(adamoe_routed_number(out, "loss.balance",
                                    call->value[ALPHA] * (double)n * adamoe_balance(count, scores, S, n)));
    return adamoe_locality_loss(call, scores, (size_t)call->value[NODES], call->value[ETA], call->value[MU],
                                out);
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
    ADAMOE_TRY(add_losses(call, scores, choice, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

ADAMOE_ROUTER(locmoe, "the largest group of channels, with a loss for locality");

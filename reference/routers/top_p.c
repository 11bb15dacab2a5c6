/*
 * Top-p, or dynamic routing (arXiv 2403.07652): reference/README.md section 12.10. As many experts as it takes for
 * their probabilities to exceed tau.
 */
#include "routers/parts.h"

#include <math.h>

enum { TAU, MOST, ALPHA, BETA };

static const adamoe_router_parameter parameters[] = {
    [TAU] = {.name = "tau",
             .kind = ADAMOE_PARAMETER_NUMBER,
             .standard = 0.4,
             .low = 0.0,
             .low_open = true,
             .high = 1.0},
    [MOST] = {.name = "most", /* not given: n */
              .kind = ADAMOE_PARAMETER_COUNT,
              .need = ADAMOE_PARAMETER_OPTIONAL,
              .low = 1.0,
              .high = ADAMOE_ANY_COUNT},
    [ALPHA] = ADAMOE_NUMBER("alpha", 0.0, ADAMOE_ANY, 0.01),
    [BETA] = ADAMOE_NUMBER("beta", 0.0, ADAMOE_ANY, 1e-4),
};

/* choice[most]: experts by descending p until their sum exceeds tau, strictly; -1 behind them. Returns how
 * many. */
static size_t take_until(const double *p, size_t n, double tau, size_t most, int64_t *choice)
{
    double sum = 0.0;
    size_t count = 0;
    while (count < most && !(sum > tau)) {
        choice[count] = adamoe_next_largest(p, n, 1, count == 0 ? -1 : choice[count - 1]);
        sum += p[choice[count++]];
    }
    for (size_t j = count; j < most; ++j) {
        choice[j] = -1;
    }
    return count;
}

/* -sum of p ln p, in which 0 ln 0 is 0. */
static double entropy(const double *p, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; ++i) {
        sum -= p[i] > 0.0 ? p[i] * log(p[i]) : 0.0;
    }
    return sum;
}

static adamoe_status add_losses(const adamoe_router_call *call, const double *scores, const double *count,
                                adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    double sum = 0.0;
    for (size_t s = 0; s < S; ++s) {
        sum += entropy(scores + s * n, n);
    }
    ADAMOE_TRY(adamoe_routed_number(out, "loss.balance",
                                    call->value[ALPHA] * (double)n * adamoe_balance(count, scores, S, n)));
    return adamoe_routed_number(out, "loss.dynamic", call->value[BETA] * sum / (double)S);
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    const size_t most = isnan(call->value[MOST]) ? n : (size_t)call->value[MOST];
    adamoe_slots placement;
    double *scores, *count;
    int64_t *choice, *number;
    if (most > n) {
        return adamoe_error(ADAMOE_BAD_INPUT, "most: %zu is not within 1 .. %zu", most, n);
    }
    ADAMOE_TRY(adamoe_gate_softmax(call, out, &scores));
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, S, most, &choice));
    ADAMOE_TRY(adamoe_routed_integers(out, "number", S, 1, &number));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, n, 1, &count));
    for (size_t s = 0; s < S; ++s) {
        number[s] = (int64_t)take_until(scores + s * n, n, call->value[TAU], most, choice + s * most);
        for (size_t j = 0; j < (size_t)number[s]; ++j) {
            count[choice[s * most + j]] += 1.0;
        }
    }
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    adamoe_place_all(call, choice, most, &placement);
    for (size_t i = 0; i < S * n; ++i) {
        placement.weight[i] = scores[i];
    }
    ADAMOE_TRY(add_losses(call, scores, count, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, n = call->experts;
    const double *scores = adamoe_routed_numbers_of(routed, "scores");
    double *count, *dscores, *dlogits;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, n, 1, &count));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dlogits));
    adamoe_combine_backward(routed, derivative, n, dscores);
    for (size_t e = 0; e < n; ++e) { /* without capacity every choice is a row */
        count[e] = (double)(routed->plan->offset[e + 1] - routed->plan->offset[e]);
    }
    adamoe_balance_backward(count, derivative->loss[0] * call->value[ALPHA] * (double)n, S, n, dscores);
    for (size_t i = 0; i < S * n; ++i) { /* of -p ln p; a p of 0 passes nothing on */
        dscores[i] -= derivative->loss[1] * call->value[BETA] / (double)S *
                      (scores[i] > 0.0 ? log(scores[i]) + 1.0 : 0.0);
    }
    adamoe_softmax_rows_backward(scores, dscores, S, n, dlogits);
    return adamoe_gate_backward(call, dlogits, n, gradient);
}

ADAMOE_ROUTER(top_p, "experts until their probabilities exceed tau", backward, "balance", "dynamic");

/*
 * Sinkhorn's iteration in the log domain: nothing overflows that a double of l / epsilon holds.
 */
#include "routers/parts.h"

#include <math.h>

/* ln of the sum of exp(value[i] + other[i]) over count values, `stride` apart; other has no gaps. */
static double log_sum(const double *value, size_t stride, const double *other, size_t count)
{
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        largest = fmax(largest, value[i * stride] + other[i]);
    }
    for (size_t i = 0; i < count; ++i) {
        sum += exp(value[i * stride] + other[i] - largest);
    }
    return largest + log(sum);
}

/* The rows are exact by construction. Where l / epsilon is so large that its last digits are worth more than
 * that, they no longer are. What is allowed, 1e-9, is below the 6e-8 that a float32 weight tells, and above what 4 million
 * sums of 2^-53 round. */
static adamoe_status check_plan(const double *plan, size_t tokens, size_t n, double epsilon)
{
    for (size_t s = 0; s < tokens; ++s) {
        double sum = 0.0;
        for (size_t e = 0; e < n; ++e) {
            sum += plan[s * n + e];
        }
        if (!(fabs(sum - 1.0) <= 1e-9)) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "epsilon: %.9g: Sinkhorn overflows: the plan of token %zu sums to %.9g",
                                epsilon, s, sum);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_gate_sinkhorn(const adamoe_router_call *call, double epsilon, double iterations,
                                   adamoe_routed *out, double **scores, double **plan)
{
    const size_t S = call->tokens, n = call->experts;
    double *u, *v, *scaled;
    ADAMOE_TRY(adamoe_gate_softmax(call, out, scores));
    const double *logits = adamoe_routed_numbers_of(out, "logits");
    ADAMOE_TRY(adamoe_routed_numbers(out, "plan", S, n, plan));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &u)); /* ln u, ln v, l / epsilon */
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, n, 1, &v));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, n, &scaled));
    for (size_t i = 0; i < S * n; ++i) {
        scaled[i] = logits[i] / epsilon;
    }
    for (size_t iteration = 0; iteration < (size_t)iterations; ++iteration) {
        for (size_t e = 0; e < n; ++e) {
            v[e] = log((double)S / (double)n) - log_sum(scaled + e, n, u, S);
        }
        for (size_t s = 0; s < S; ++s) {
            u[s] = -log_sum(scaled + s * n, 1, v, n);
        }
    }
    for (size_t i = 0; i < S * n; ++i) {
        (*plan)[i] = exp(u[i / n] + scaled[i] + v[i % n]);
    }
    return check_plan(*plan, S, n, epsilon);
}

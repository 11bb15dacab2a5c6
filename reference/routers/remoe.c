/*
 * ReMoE (arXiv 2412.14711, its equations 5 to 11): reference/README.md section 12.15. A ReLU instead of the k
 * largest, and a weight of the L1 loss that holds the sparsity.
 */
#include "routers/parts.h"

#include <math.h>

enum { TARGET_K, LAMBDA, MULTIPLIER };

static const adamoe_router_parameter parameters[] = {
    [TARGET_K] = {.name = "target_k",
                  .kind = ADAMOE_PARAMETER_NUMBER,
                  .need = ADAMOE_PARAMETER_REQUIRED,
                  .low = 0.0,
                  .low_open = true,
                  .high = ADAMOE_ANY},
    [LAMBDA] = ADAMOE_NUMBER("lambda", 0.0, ADAMOE_ANY, 1e-8),
    [MULTIPLIER] = {.name = "multiplier",
                    .kind = ADAMOE_PARAMETER_NUMBER,
                    .standard = 1.2,
                    .low = 1.0,
                    .high = ADAMOE_ANY},
};

/* l1 = (1/S) sum of f_e w with f_e = n / (k S) count_e; sparsity = share of zeros; lambda_next = lambda
 * multiplier^sign(1 - k/n - sparsity). */
static adamoe_status add_losses(const adamoe_router_call *call, const double *w, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    const double k = call->value[TARGET_K];
    double l1 = 0.0, chosen = 0.0;
    for (size_t e = 0; e < n; ++e) {
        double count = 0.0, sum = 0.0;
        for (size_t s = 0; s < S; ++s) {
            count += w[s * n + e] > 0.0;
            sum += w[s * n + e];
        }
        l1 += (double)n / (k * (double)S) * count * sum / (double)S;
        chosen += count;
    }
    const double sparsity = 1.0 - chosen / ((double)S * (double)n), wanted = 1.0 - k / (double)n;
    const double sign = (double)(wanted > sparsity) - (double)(wanted < sparsity);
    ADAMOE_TRY(adamoe_routed_number(out, "loss.l1", l1));
    ADAMOE_TRY(adamoe_routed_number(out, "loss.sparsity", sparsity));
    return adamoe_routed_number(out, "loss.lambda_next",
                                call->value[LAMBDA] * pow(call->value[MULTIPLIER], sign));
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    adamoe_slots placement;
    double *logits, *w;
    int64_t *choice;
    if (call->value[TARGET_K] > (double)n) {
        return adamoe_error(ADAMOE_BAD_INPUT, "target_k: %.9g is above %zu experts", call->value[TARGET_K],
                            n);
    }
    ADAMOE_TRY(adamoe_gate_logits(call, NULL, out, &logits));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, n, &w));
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, S, n, &choice));
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    for (size_t i = 0; i < S * n; ++i) {
        w[i] = fmax(0.0, logits[i]);
        placement.weight[i] = w[i];
        choice[i] = logits[i] > 0.0 ? (int64_t)(i % n) : -1;
    }
    adamoe_place_all(call, choice, n, &placement);
    ADAMOE_TRY(add_losses(call, w, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, n = call->experts;
    const double *w = adamoe_routed_numbers_of(routed, "scores");
    double *dlogits;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dlogits));
    adamoe_combine_backward(routed, derivative, n, dlogits);
    for (size_t e = 0; e < n; ++e) {
        double count = 0.0;
        for (size_t s = 0; s < S; ++s) {
            count += w[s * n + e] > 0.0;
        }
        for (size_t s = 0; s < S; ++s) {
            dlogits[s * n + e] +=
                derivative->loss[0] * (double)n / (call->value[TARGET_K] * (double)S) * count / (double)S;
            dlogits[s * n + e] *= w[s * n + e] > 0.0;
        }
    }
    return adamoe_gate_backward(call, dlogits, n, gradient);
}

ADAMOE_ROUTER(remoe, "every expert with a positive logit", backward, "l1");

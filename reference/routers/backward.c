/*
 * The gradients of what several routers are made of. Each adds to the derivatives that it is given.
 */
#include "gradient/gradient.h"
#include "plan.h"
#include "numbers.h"
#include "routers/parts.h"

#include <string.h>

double *adamoe_gradient_of(const adamoe_router_call *call, const adamoe_router_gradient *gradient,
                           const char *name)
{
    for (size_t i = 0; gradient->tensor != NULL && i < call->tensors; ++i) {
        if (strcmp(call->tensor[i].name, name) == 0) {
            return gradient->tensor[i];
        }
    }
    return NULL;
}

void adamoe_combine_backward(const adamoe_routed *routed, const adamoe_router_derivative *derivative,
                             size_t ids, double *dweight)
{
    const adamoe_plan *plan = routed->plan;
    for (size_t s = 0; s < plan->tokens; ++s) {
        for (size_t i = plan->token_offset[s]; i < plan->token_offset[s + 1]; ++i) {
            dweight[s * ids + adamoe_plan_expert(plan, plan->token_row[i])] += derivative->combine[i];
        }
    }
}

void adamoe_softmax_rows_backward(const double *probability, const double *dprobability, size_t rows,
                                  size_t columns, double *dlogits)
{
    for (size_t r = 0; r < rows; ++r) {
        double mean = 0.0;
        for (size_t i = r * columns; i < (r + 1) * columns; ++i) {
            mean += probability[i] * dprobability[i];
        }
        for (size_t i = r * columns; i < (r + 1) * columns; ++i) {
            dlogits[i] += probability[i] * (dprobability[i] - mean);
        }
    }
}

void adamoe_balance_backward(const double *count, double factor, size_t tokens, size_t ids,
                             double *dprobability)
{
    for (size_t i = 0; i < tokens * ids; ++i) {
        dprobability[i] += factor * count[i % ids] / ((double)tokens * (double)tokens);
    }
}

adamoe_status adamoe_gate_backward(const adamoe_router_call *call, const double *dlogits, size_t ids,
                                   const adamoe_router_gradient *gradient)
{
    static const char *const name[2] = {"block_sparse_moe.gate.weight", "block_sparse_moe.gate2.weight"};
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts;
    for (size_t g = 0; g < (ids > n ? 2 : 1); ++g) {
        double *dmatrix = adamoe_gradient_of(call, gradient, name[g]);
        adamoe_matrix matrix;
        ADAMOE_TRY(adamoe_router_matrix_of(call, name[g], ADAMOE_F32, g == 0 ? n : ids - n, d, &matrix));
        for (size_t i = 0; i < S * matrix.rows; ++i) {
            const size_t s = i / matrix.rows, r = i % matrix.rows;
            const double dlogit = dlogits[s * ids + (g == 0 ? 0 : n) + r];
            for (size_t c = 0; c < d; ++c) {
                if (gradient->hidden_states != NULL) {
                    gradient->hidden_states[s * d + c] += dlogit * adamoe_matrix_at(&matrix, r, c);
                }
                if (dmatrix != NULL) {
                    dmatrix[r * d + c] += dlogit * (double)call->hidden_states[s * d + c];
                }
            }
        }
    }
    return adamoe_ok();
}

/* From the derivatives with respect to the softmax of the gate's logits. */
static adamoe_status scores_backward(const adamoe_router_call *call, const double *dscores,
                                     adamoe_routed *routed, const adamoe_router_gradient *gradient)
{
    double *dlogits;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, call->tokens, call->experts, &dlogits));
    adamoe_softmax_rows_backward(adamoe_routed_numbers_of(routed, "scores"), dscores, call->tokens,
                                 call->experts, dlogits);
    return adamoe_gate_backward(call, dlogits, call->experts, gradient);
}

adamoe_status adamoe_gate_softmax_backward(const adamoe_router_call *call, adamoe_routed *routed,
                                           const adamoe_router_derivative *derivative,
                                           const adamoe_router_gradient *gradient)
{
    double *dscores;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, call->tokens, call->experts, &dscores));
    adamoe_combine_backward(routed, derivative, call->experts, dscores);
    return scores_backward(call, dscores, routed, gradient);
}

/* importance = V / M^2 with the mean M of the column means P_e and V the mean of (P_e - M)^2: its derivative with
 * respect to P_e is 2 (P_e - M) / (n M^2) - 2 V / (n M^3). */
static void importance_backward(const double *scores, size_t tokens, size_t n, double dloss, double *dscores)
{
    double mean = 0.0, variance = 0.0;
    for (size_t e = 0; e < n; ++e) {
        mean += adamoe_column_mean(scores, tokens, n, e) / (double)n;
    }
    for (size_t e = 0; e < n; ++e) {
        const double deviation = adamoe_column_mean(scores, tokens, n, e) - mean;
        variance += deviation * deviation / (double)n;
    }
    for (size_t e = 0; e < n; ++e) {
        const double deviation = adamoe_column_mean(scores, tokens, n, e) - mean;
        const double dmean = 2.0 / (double)n * (deviation - variance / mean) / (mean * mean);
        for (size_t s = 0; s < tokens; ++s) {
            dscores[s * n + e] += dloss * dmean / (double)tokens;
        }
    }
}

adamoe_status adamoe_token_choice_backward(const adamoe_router_call *call, adamoe_routed *routed,
                                           const adamoe_router_derivative *derivative,
                                           const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, n = call->experts;
    const adamoe_routed_array *choice = adamoe_routed_find(routed, "choice");
    double *first, *dscores;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, n, 1, &first));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dscores));
    adamoe_combine_backward(routed, derivative, n, dscores);
    for (size_t s = 0; s < S; ++s) {
        first[choice->integer[s * choice->columns]] += 1.0;
    }
    adamoe_balance_backward(first, derivative->loss[0] * (double)n, S, n, dscores);
    importance_backward(adamoe_routed_numbers_of(routed, "scores"), S, n, derivative->loss[1], dscores);
    return scores_backward(call, dscores, routed, gradient);
}

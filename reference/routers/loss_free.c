/*
 * Balance without a loss, by a bias (arXiv 2408.15664, DeepSeek-V3): reference/README.md section 12.11. The bias
 * selects, the score weighs; after a batch the bias moves towards the experts that had too few tokens.
 */
#include "routers/parts.h"

#include <math.h>

enum { TOP_K, SCORE, NORMALISE, SCALE, RATE, GROUPS, GROUPS_KEPT };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = {.name = "top_k",
               .kind = ADAMOE_PARAMETER_COUNT,
               .need = ADAMOE_PARAMETER_REQUIRED,
               .low = 1.0,
               .high = ADAMOE_ANY_COUNT},
    [SCORE] = ADAMOE_CHOICE("score", "sigmoid|softmax"),
    [NORMALISE] = {.name = "normalise",
                   .kind = ADAMOE_PARAMETER_COUNT,
                   .need = ADAMOE_PARAMETER_REQUIRED,
                   .low = 0.0,
                   .high = 1.0},
    [SCALE] = ADAMOE_POSITIVE("scale", 1.0),
    [RATE] = ADAMOE_NUMBER("rate", 0.0, ADAMOE_ANY, 0.001),
    [GROUPS] = ADAMOE_COUNT("groups", 1.0, ADAMOE_ANY_COUNT, 1.0),
    [GROUPS_KEPT] = ADAMOE_COUNT("groups_kept", 1.0, ADAMOE_ANY_COUNT, 1.0),
};

static adamoe_status check_groups(const adamoe_router_call *call)
{
    const size_t n = call->experts, groups = (size_t)call->value[GROUPS];
    const size_t kept = (size_t)call->value[GROUPS_KEPT];
    if (n % groups != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "groups: %zu do not divide %zu experts", groups, n);
    }
    if (kept > groups) {
        return adamoe_error(ADAMOE_BAD_INPUT, "groups_kept: %zu is not within 1 .. %zu", kept, groups);
    }
    return adamoe_check_top_k((size_t)call->value[TOP_K], kept * (n / groups));
}

/* s = sigmoid(l), or the softmax. */
static void compute_scores(const adamoe_router_call *call, const double *logits, double *scores)
{
    const size_t S = call->tokens, n = call->experts;
    if (call->value[SCORE] != 0.0) {
        adamoe_softmax_rows(logits, S, n, scores);
        return;
    }
    for (size_t i = 0; i < S * n; ++i) {
        scores[i] = 1.0 / (1.0 + exp(-logits[i]));
    }
}

/* The experts of all groups but the best ones count as -inf. A group is worth the sum of its 2 largest q, or of
 * the only one that it has. worth is [groups], best [groups + 2]. */
static void keep_best_groups(const adamoe_router_call *call, double *q, double *worth, int64_t *best)
{
    const size_t groups = (size_t)call->value[GROUPS], kept = (size_t)call->value[GROUPS_KEPT];
    const size_t size = call->experts / groups;
    for (size_t g = 0; g < groups; ++g) {
        adamoe_select_largest(q + g * size, size, 1, size < 2 ? size : 2, best);
        worth[g] = q[g * size + (size_t)best[0]] + (size < 2 ? 0.0 : q[g * size + (size_t)best[1]]);
    }
    adamoe_select_largest(worth, groups, 1, groups, best);
    for (size_t r = kept; r < groups; ++r) {
        for (size_t i = 0; i < size; ++i) {
            q[(size_t)best[r] * size + i] = -HUGE_VAL;
        }
    }
}

/* B = s scale, over the sum of the chosen s where normalised. */
static void compute_weights(const adamoe_router_call *call, const double *scores, const int64_t *choice,
                            double *weight)
{
    const size_t n = call->experts, top_k = (size_t)call->value[TOP_K];
    for (size_t s = 0; s < call->tokens; ++s) {
        double sum = 0.0;
        for (size_t j = 0; j < top_k; ++j) {
            sum += scores[s * n + (size_t)choice[s * top_k + j]];
        }
        for (size_t j = 0; j < top_k; ++j) {
            const size_t i = s * n + (size_t)choice[s * top_k + j];
            const double w = call->value[NORMALISE] != 0.0 ? scores[i] / (sum + 1e-20) : scores[i];
            weight[i] = w * call->value[SCALE];
        }
    }
}

/* bias_e += rate sign(mean count - count_e); the largest count over the mean, less 1, is how uneven the batch
 * was. */
static adamoe_status update_bias(const adamoe_router_call *call, const double *bias, const int64_t *choice,
                                 adamoe_routed *out)
{
    const size_t n = call->experts, choices = call->tokens * (size_t)call->value[TOP_K];
    const double mean = (double)choices / (double)n;
    double *count, *next, largest = 0.0;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, n, 1, &count));
    ADAMOE_TRY(adamoe_routed_numbers(out, "bias_next", n, 1, &next));
    adamoe_count_choices(choice, choices, n, count);
    for (size_t e = 0; e < n; ++e) {
        const double sign = (double)(count[e] < mean) - (double)(count[e] > mean);
        next[e] = bias[e] + call->value[RATE] * sign;
        largest = fmax(largest, count[e]);
    }
    return adamoe_routed_number(out, "loss.max_violation", (largest - mean) / mean);
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts, top_k = (size_t)call->value[TOP_K];
    const size_t groups = (size_t)call->value[GROUPS];
    adamoe_slots placement;
    double *logits, *scores, *bias, *q, *worth;
    int64_t *choice, *best;
    ADAMOE_TRY(check_groups(call));
    ADAMOE_TRY(adamoe_gate_logits(call, NULL, out, &logits));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, n, &scores));
    ADAMOE_TRY(adamoe_router_numbers(call, "router.bias", 1, n, out, &bias));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, n, &q));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, groups, 1, &worth));
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, groups + 2, 1, &best));
    compute_scores(call, logits, scores);
    for (size_t s = 0; s < S; ++s) {
        for (size_t e = 0; e < n; ++e) {
            q[s * n + e] = scores[s * n + e] + bias[e];
        }
        if (groups > 1) {
            keep_best_groups(call, q + s * n, worth, best);
        }
    }
    ADAMOE_TRY(adamoe_choose(call, q, n, top_k, out, &choice));
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    adamoe_place_all(call, choice, top_k, &placement);
    compute_weights(call, scores, choice, placement.weight);
    ADAMOE_TRY(update_bias(call, bias, choice, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

/* Of compute_weights: with w_j = scale s_j / (sum + 1e-20), ds_j += (scale dw_j - sum over i of w_i dw_i) / sum. */
static void weights_backward(const adamoe_router_call *call, const double *scores, const int64_t *choice,
                             const double *dweight, double *dscores)
{
    const size_t n = call->experts, top_k = (size_t)call->value[TOP_K];
    const double scale = call->value[SCALE];
    for (size_t s = 0; s < call->tokens; ++s) {
        double sum = 1e-20, mean = 0.0;
        for (size_t j = 0; j < top_k; ++j) {
            const size_t i = s * n + (size_t)choice[s * top_k + j];
            sum += scores[i];
            mean += scale * scores[i] * dweight[i];
        }
        for (size_t j = 0; j < top_k; ++j) {
            const size_t i = s * n + (size_t)choice[s * top_k + j];
            dscores[i] +=
                call->value[NORMALISE] != 0.0 ? (scale * dweight[i] - mean / sum) / sum : scale * dweight[i];
        }
    }
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, n = call->experts;
    const double *scores = adamoe_routed_numbers_of(routed, "scores");
    double *dweight, *dscores, *dlogits;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dweight));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dlogits));
    adamoe_combine_backward(routed, derivative, n, dweight);
    weights_backward(call, scores, adamoe_routed_integers_of(routed, "choice"), dweight, dscores);
    if (call->value[SCORE] != 0.0) {
        adamoe_softmax_rows_backward(scores, dscores, S, n, dlogits);
    }
    for (size_t i = 0; i < S * n && call->value[SCORE] == 0.0; ++i) {
        dlogits[i] = scores[i] * (1.0 - scores[i]) * dscores[i];
    }
    return adamoe_gate_backward(call, dlogits, n, gradient);
}

ADAMOE_ROUTER(loss_free, "balance by a bias that selects and does not weigh", backward, NULL);

/*
 * LongCat-Flash (arXiv 2509.01322, the paper's section 2.1): reference/README.md section 12.12. Identity experts among the
 * true ones, and a bias that holds the number of true ones.
 */
#include "routers/parts.h"

enum { TOP_K, EXPECTED_K, SCALE, RATE, GROUPS, ALPHA, IDENTITY };

#define REQUIRED_COUNT(NAME)                                                                                 \
    {                                                                                                        \
        .name = NAME, .kind = ADAMOE_PARAMETER_COUNT, .need = ADAMOE_PARAMETER_REQUIRED, .low = 1.0,         \
        .high = ADAMOE_ANY_COUNT                                                                             \
    }
#define REQUIRED_NUMBER(NAME, OPEN)                                                                          \
    {                                                                                                        \
        .name = NAME, .kind = ADAMOE_PARAMETER_NUMBER, .need = ADAMOE_PARAMETER_REQUIRED, .low = 0.0,        \
        .low_open = OPEN, .high = ADAMOE_ANY                                                                 \
    }

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = REQUIRED_COUNT("top_k"),        [EXPECTED_K] = REQUIRED_NUMBER("expected_k", true),
    [SCALE] = REQUIRED_NUMBER("scale", true), [RATE] = REQUIRED_NUMBER("rate", false),
    [GROUPS] = REQUIRED_COUNT("groups"),      [ALPHA] = REQUIRED_NUMBER("alpha", false),
    [IDENTITY] = ADAMOE_SIZE("identity"),
};

static adamoe_status check_parameters(const adamoe_router_call *call, size_t identities)
{
    const double top_k = call->value[TOP_K], expected = call->value[EXPECTED_K];
    ADAMOE_TRY(adamoe_check_size("identity", call->value[IDENTITY], identities));
    if (call->experts % (size_t)call->value[GROUPS] != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "groups: %zu do not divide %zu experts",
                            (size_t)call->value[GROUPS], call->experts);
    }
    if (expected > top_k || (expected >= top_k && identities > 0)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "expected_k: %.9g is not below top_k, %.9g", expected, top_k);
    }
    return adamoe_ok();
}

/* balance = alpha sum of f_j P_j over the groups of true experts, and one of all identity ones. */
static adamoe_status balance_loss(const adamoe_router_call *call, const double *scores, const double *count,
                                  size_t ids, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts, groups = (size_t)call->value[GROUPS];
    const double top_k = call->value[TOP_K], expected = call->value[EXPECTED_K];
    double loss = 0.0, others = 0.0, mass = 0.0;
    for (size_t j = 0; j < groups; ++j) {
        double selections = 0.0, probability = 0.0;
        for (size_t e = j * (n / groups); e < (j + 1) * (n / groups); ++e) {
            selections += count[e];
            probability += adamoe_column_mean(scores, S, ids, e);
        }
        loss += (double)groups / (expected * (double)S) * selections * probability;
    }
    for (size_t i = n; i < ids; ++i) {
        others += count[i];
        mass += adamoe_column_mean(scores, S, ids, i);
    }
    loss += ids > n ? others / ((top_k - expected) * (double)S) * mass : 0.0;
    return adamoe_routed_number(out, "loss.balance", call->value[ALPHA] * loss);
}

/* bias_i += rate (Ke / (K N) - T_i / (K S)) for true experts, nothing for identity ones. */
static adamoe_status update_bias(const adamoe_router_call *call, const double *bias, const double *count,
                                 size_t ids, adamoe_routed *out)
{
    const double top_k = call->value[TOP_K],
                 wanted = call->value[EXPECTED_K] / (top_k * (double)call->experts);
    double *next, selections = 0.0;
    ADAMOE_TRY(adamoe_routed_numbers(out, "bias_next", ids, 1, &next));
    for (size_t i = 0; i < ids; ++i) {
        const bool is_true = i < call->experts;
        const double share = count[i] / (top_k * (double)call->tokens);
        next[i] = bias[i] + (is_true ? call->value[RATE] * (wanted - share) : 0.0);
        selections += is_true ? count[i] : 0.0;
    }
    return adamoe_routed_number(out, "loss.mean_true", selections / (double)call->tokens);
}

/* Every weight is scale p, without renormalisation; those of identity experts add up to self_scale. */
static void compute_weights(const adamoe_router_call *call, const double *scores, const int64_t *choice,
                            size_t ids, double *weight, double *self_scale)
{
    const size_t top_k = (size_t)call->value[TOP_K];
    for (size_t i = 0; i < call->tokens * top_k; ++i) {
        const size_t at = i / top_k * ids + (size_t)choice[i];
        weight[at] = call->value[SCALE] * scores[at];
        self_scale[i / top_k] += (size_t)choice[i] >= call->experts ? weight[at] : 0.0;
    }
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts, top_k = (size_t)call->value[TOP_K];
    size_t identities;
    adamoe_slots placement;
    double *logits, *scores, *bias, *biased, *count, *self_scale;
    int64_t *choice;
    ADAMOE_TRY(adamoe_gate_logits(call, &identities, out, &logits));
    ADAMOE_TRY(check_parameters(call, identities));
    const size_t ids = n + identities;
    ADAMOE_TRY(adamoe_router_numbers(call, "router.bias", 1, ids, out, &bias));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, ids, &scores));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, ids, &biased));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, ids, 1, &count));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &self_scale));
    adamoe_softmax_rows(logits, S, ids, scores);
    for (size_t i = 0; i < S * ids; ++i) {
        biased[i] = scores[i] + bias[i % ids];
    }
    ADAMOE_TRY(adamoe_choose(call, biased, ids, top_k, out, &choice));
    ADAMOE_TRY(adamoe_slots_create(call, ids, out, &placement));
    adamoe_place_all(call, choice, top_k, &placement);
    compute_weights(call, scores, choice, ids, placement.weight, self_scale);
    adamoe_count_choices(choice, S * top_k, ids, count);
    ADAMOE_TRY(balance_loss(call, scores, count, ids, out));
    ADAMOE_TRY(update_bias(call, bias, count, ids, out));
    return adamoe_routed_plan(call, &placement, self_scale, out);
}

/* P_j is the sum of P in group j, so each of its ids gets the group's f. */
static void balance_backward(const adamoe_router_call *call, const double *count, size_t ids, double dloss,
                             double *dscores)
{
    const size_t S = call->tokens, n = call->experts, size = n / (size_t)call->value[GROUPS];
    const double top_k = call->value[TOP_K], expected = call->value[EXPECTED_K];
    for (size_t i = 0; i < ids; ++i) {
        const size_t first = i < n ? i / size * size : n, end = i < n ? first + size : ids;
        const double share = i < n ? call->value[GROUPS] / expected : 1.0 / (top_k - expected);
        double selections = 0.0;
        for (size_t j = first; j < end; ++j) {
            selections += count[j];
        }
        for (size_t s = 0; s < S; ++s) {
            dscores[s * ids + i] += dloss * call->value[ALPHA] * share * selections / ((double)S * (double)S);
        }
    }
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const adamoe_routed_array *scores = adamoe_routed_find(routed, "scores");
    const size_t S = call->tokens, ids = scores->columns, top_k = (size_t)call->value[TOP_K];
    const int64_t *choice = adamoe_routed_integers_of(routed, "choice");
    double *count, *dscores, *dlogits;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, ids, 1, &count));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dlogits));
    adamoe_combine_backward(routed, derivative, ids, dscores);
    for (size_t i = 0; i < S * top_k; ++i) {
        if ((size_t)choice[i] >= call->experts) {
            dscores[i / top_k * ids + (size_t)choice[i]] += derivative->self_scale[i / top_k];
        }
    }
    for (size_t i = 0; i < S * ids; ++i) {
        dscores[i] *= call->value[SCALE];
    }
    adamoe_count_choices(choice, S * top_k, ids, count);
    balance_backward(call, count, ids, derivative->loss[0], dscores);
    adamoe_softmax_rows_backward(scores->number, dscores, S, ids, dlogits);
    return adamoe_gate_backward(call, dlogits, ids, gradient);
}

ADAMOE_ROUTER(longcat, "identity experts, and a bias that holds the number of true ones", backward,
              "balance");

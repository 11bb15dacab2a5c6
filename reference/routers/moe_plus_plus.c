/*
 * MoE++ (arXiv 2410.07348, its equations 1 to 8): reference/README.md section 12.13. Besides true experts there are
 * constant ones, copies and zero ones; logits may carry a residual from the layer before.
 *
 * A copy is the plan's self_scale. What constant experts add, a weight for each token and a vector for each
 * expert, has no place in a plan and gets none: no kernel would do it faster than whoever adds it to y, and
 * another array would cost every kernel code and change the ABI. So it is a stage of the layer around the kernel,
 * `after`.
 */
#include "numbers.h"
#include "routers/parts.h"

#include <math.h>
#include <stdlib.h>

enum { TOP_K, NORM, TAU, BETA, CAPACITY_FACTOR, CONSTANT, COPY, ZERO, PREVIOUS };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = ADAMOE_COUNT("top_k", 1.0, ADAMOE_ANY_COUNT, 2.0),
    [NORM] = ADAMOE_CHOICE("norm", "none|nonzero"),
    [TAU] = {.name = "tau",
             .kind = ADAMOE_PARAMETER_NUMBER,
             .standard = 0.75,
             .low = 0.0,
             .low_open = true,
             .high = 1.0},
    [BETA] = ADAMOE_NUMBER("beta", 0.0, ADAMOE_ANY, 0.01),
    [CAPACITY_FACTOR] = {.name = "capacity_factor", /* not given: no limit */
                         .kind = ADAMOE_PARAMETER_NUMBER,
                         .need = ADAMOE_PARAMETER_OPTIONAL,
                         .low = 0.0,
                         .low_open = true,
                         .high = ADAMOE_ANY},
    [CONSTANT] = ADAMOE_COUNT("constant", 0.0, ADAMOE_ANY_COUNT, 0.0),
    [COPY] = ADAMOE_COUNT("copy", 0.0, ADAMOE_ANY_COUNT, 0.0),
    [ZERO] = ADAMOE_COUNT("zero", 0.0, ADAMOE_ANY_COUNT, 0.0),
    [PREVIOUS] = {.name = "previous", /* not given: as the tensors say */
                  .kind = ADAMOE_PARAMETER_COUNT,
                  .need = ADAMOE_PARAMETER_OPTIONAL,
                  .low = 0.0,
                  .high = 1.0},
};

/* How many of each kind, in the order of their ids. */
typedef struct kinds {
    size_t constant, copy, zero;
    size_t ids; /* n and all of them */
} kinds;

static adamoe_status count_kinds(const adamoe_router_call *call, size_t others, kinds *out)
{
    *out = (kinds){.constant = (size_t)call->value[CONSTANT],
                   .copy = (size_t)call->value[COPY],
                   .zero = (size_t)call->value[ZERO],
                   .ids = call->experts + others};
    if (out->constant + out->copy + out->zero != others) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "constant, copy, zero: %zu, %zu and %zu are not the %zu rows of gate2",
                            out->constant, out->copy, out->zero, others);
    }
    return adamoe_ok();
}

static bool is_copy(const adamoe_router_call *call, const kinds *k, size_t id)
{
    return id >= call->experts + k->constant && id < k->ids - k->zero;
}

/* l += R l_prev, where the layer before gives its own. */
static adamoe_status add_residual(const adamoe_router_call *call, size_t ids, adamoe_routed *out,
                                  double *logits)
{
    static const char weight_name[] = "router.residual.weight", previous_name[] = "router.previous_logits";
    double *weight, *previous;
    const bool has_tensors = adamoe_router_has(call, weight_name) || adamoe_router_has(call, previous_name);
    if (isnan(call->value[PREVIOUS]) ? !has_tensors : call->value[PREVIOUS] == 0.0) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_router_numbers(call, weight_name, ids, ids, out, &weight));
    ADAMOE_TRY(adamoe_router_numbers(call, previous_name, call->tokens, ids, out, &previous));
    for (size_t s = 0; s < call->tokens; ++s) {
        for (size_t i = 0; i < ids; ++i) {
            double sum = 0.0;
            for (size_t j = 0; j < ids; ++j) {
                sum += weight[i * ids + j] * previous[s * ids + j];
            }
            logits[s * ids + i] += sum;
        }
    }
    return adamoe_router_check_logits(logits, call->tokens, ids);
}

/* none: w = p. nonzero: p over the sum of the chosen ones that are not zero experts, 0 where there is none. */
static void compute_weights(const adamoe_router_call *call, const kinds *k, const double *scores,
                            const int64_t *choice, double *weight)
{
    const size_t top_k = (size_t)call->value[TOP_K];
    for (size_t s = 0; s < call->tokens; ++s) {
        double sum = 0.0;
        for (size_t j = 0; j < top_k; ++j) {
            const size_t id = (size_t)choice[s * top_k + j];
            sum += id < k->ids - k->zero ? scores[s * k->ids + id] : 0.0;
        }
        for (size_t j = 0; j < top_k; ++j) {
            const size_t at = s * k->ids + (size_t)choice[s * top_k + j];
            const double normalised = sum > 0.0 ? scores[at] / sum : 0.0;
            weight[at] = call->value[NORM] != 0.0 ? normalised : scores[at];
        }
    }
}

/* C = ceil(c tau S / (tau N + Z)) for true experts, ceil(c S / (tau N + Z)) for the others, as printed. Without c the slots
 * are given in the same order. */
static adamoe_status place(const adamoe_router_call *call, const kinds *k, const int64_t *choice,
                           adamoe_routed *out, adamoe_slots *placement)
{
    const double factor = call->value[CAPACITY_FACTOR], tau = call->value[TAU], S = (double)call->tokens;
    const double shares = tau * (double)call->experts + (double)(k->ids - call->experts);
    const size_t of_true = adamoe_whole_slots(factor * tau * S / shares);
    const size_t of_others = adamoe_whole_slots(factor * S / shares);
    int64_t *capacity;
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, k->ids, 1, &capacity));
    for (size_t i = 0; i < k->ids; ++i) {
        capacity[i] = isnan(factor) ? INT64_MAX : (int64_t)(i < call->experts ? of_true : of_others);
    }
    if (!isnan(factor)) {
        ADAMOE_TRY(adamoe_routed_integer(out, "capacity", of_true));
        ADAMOE_TRY(adamoe_routed_integer(out, "capacity_zero_computation", of_others));
    }
    return adamoe_place(call, choice, (size_t)call->value[TOP_K], capacity, NULL, out, placement);
}

/* A constant expert: a = softmax(W_c x) of two; a0 of its weight goes to x, a1 to its vector. */
static adamoe_status add_constant(const adamoe_router_call *call, const kinds *k, size_t c,
                                  const adamoe_slots *placement, adamoe_routed *out, double *self_scale,
                                  double *constant_weight, double *sum)
{
    const size_t d = call->hidden_size;
    char gate_name[64], vector_name[64];
    double *gate, *vector;
    (void)snprintf(gate_name, sizeof gate_name, "router.constant.%zu.gate", c);
    (void)snprintf(vector_name, sizeof vector_name, "router.constant.%zu.vector", c);
    ADAMOE_TRY(adamoe_router_numbers(call, gate_name, 2, d, out, &gate));
    ADAMOE_TRY(adamoe_router_numbers(call, vector_name, 1, d, out, &vector));
    for (size_t s = 0; s < call->tokens; ++s) {
        const size_t at = s * k->ids + call->experts + c;
        double a[2] = {0.0, 0.0};
        for (size_t i = 0; i < d; ++i) {
            a[0] += gate[i] * (double)call->hidden_states[s * d + i];
            a[1] += gate[d + i] * (double)call->hidden_states[s * d + i];
        }
        ADAMOE_TRY(adamoe_router_check_logits(a, 1, 2));
        adamoe_softmax_rows(a, 1, 2, a);
        if (placement->slot[at] >= 0) {
            self_scale[s] += placement->weight[at] * a[0];
            constant_weight[s * k->constant + c] = placement->weight[at] * a[1];
        }
        for (size_t i = 0; i < d; ++i) {
            sum[s * d + i] += constant_weight[s * k->constant + c] * vector[i];
        }
    }
    return adamoe_ok();
}

/* What constant experts and copies add, for the tokens that they took. */
static adamoe_status add_others(const adamoe_router_call *call, const kinds *k, const adamoe_slots *placement,
                                adamoe_routed *out, double *self_scale)
{
    const size_t S = call->tokens, d = call->hidden_size;
    double *constant_weight, *sum;
    ADAMOE_TRY(adamoe_routed_numbers(out, "constant_weight", S, k->constant, &constant_weight));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, d, &sum));
    for (size_t i = 0; i < S * k->ids; ++i) {
        const bool took = placement->slot[i] >= 0 && is_copy(call, k, i % k->ids);
        self_scale[i / k->ids] += took ? placement->weight[i] : 0.0;
    }
    for (size_t c = 0; c < k->constant; ++c) {
        ADAMOE_TRY(add_constant(call, k, c, placement, out, self_scale, constant_weight, sum));
    }
    if (k->constant == 0) {
        return adamoe_ok();
    }
    out->after = calloc(S * d, sizeof *out->after);
    if (out->after == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    for (size_t i = 0; i < S * d; ++i) {
        out->after[i] = (float)sum[i];
    }
    return adamoe_ok();
}

/* balance = beta sum of eta f P, eta = 1 for true experts and tau for the others. */
static adamoe_status balance_loss(const adamoe_router_call *call, const kinds *k, const double *scores,
                                  const int64_t *choice, adamoe_routed *out)
{
    const size_t S = call->tokens, choices = S * (size_t)call->value[TOP_K];
    double *count;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, k->ids, 1, &count));
    adamoe_count_choices(choice, choices, k->ids, count);
    for (size_t i = call->experts; i < k->ids; ++i) {
        count[i] *= call->value[TAU];
    }
    return adamoe_routed_number(out, "loss.balance",
                                call->value[BETA] * adamoe_balance(count, scores, S, k->ids));
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, top_k = (size_t)call->value[TOP_K];
    size_t others;
    kinds k;
    adamoe_slots placement;
    double *logits, *scores, *self_scale;
    int64_t *choice;
    ADAMOE_TRY(adamoe_gate_logits(call, &others, out, &logits));
    ADAMOE_TRY(count_kinds(call, others, &k));
    ADAMOE_TRY(add_residual(call, k.ids, out, logits));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, k.ids, &scores));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &self_scale));
    adamoe_softmax_rows(logits, S, k.ids, scores);
    ADAMOE_TRY(adamoe_choose(call, scores, k.ids, top_k, out, &choice));
    ADAMOE_TRY(adamoe_slots_create(call, k.ids, out, &placement));
    compute_weights(call, &k, scores, choice, placement.weight);
    ADAMOE_TRY(place(call, &k, choice, out, &placement));
    ADAMOE_TRY(add_others(call, &k, &placement, out, self_scale));
    ADAMOE_TRY(balance_loss(call, &k, scores, choice, out));
    return adamoe_routed_plan(call, &placement, self_scale, out);
}

ADAMOE_ROUTER(moe_plus_plus, "constant, copy and zero experts, and residual logits");

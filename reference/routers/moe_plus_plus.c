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

static const char weight_name[] = "router.residual.weight", previous_name[] = "router.previous_logits";

/* As the parameter says, or else as the tensors do. */
static bool has_residual(const adamoe_router_call *call)
{
    const bool has_tensors = adamoe_router_has(call, weight_name) || adamoe_router_has(call, previous_name);
    return isnan(call->value[PREVIOUS]) ? has_tensors : call->value[PREVIOUS] != 0.0;
}

/* l += R l_prev, where the layer before gives its own. */
static adamoe_status add_residual(const adamoe_router_call *call, size_t ids, adamoe_routed *out,
                                  double *logits)
{
    double *weight, *previous;
    if (!has_residual(call)) {
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

typedef struct constant_expert {
    char gate_name[64], vector_name[64];
    double *gate, *vector; /* [2, d], [d] */
} constant_expert;

static adamoe_status find_constant(const adamoe_router_call *call, size_t c, adamoe_routed *out,
                                   constant_expert *expert)
{
    (void)snprintf(expert->gate_name, sizeof expert->gate_name, "router.constant.%zu.gate", c);
    (void)snprintf(expert->vector_name, sizeof expert->vector_name, "router.constant.%zu.vector", c);
    ADAMOE_TRY(adamoe_router_numbers(call, expert->gate_name, 2, call->hidden_size, out, &expert->gate));
    return adamoe_router_numbers(call, expert->vector_name, 1, call->hidden_size, out, &expert->vector);
}

/* W_c x. */
static void constant_shares(const constant_expert *expert, const float *x, size_t d, double a[2])
{
    a[0] = a[1] = 0.0;
    for (size_t i = 0; i < d; ++i) {
        a[0] += expert->gate[i] * (double)x[i];
        a[1] += expert->gate[d + i] * (double)x[i];
    }
}

/* A constant expert: a = softmax(W_c x) of two; a0 of its weight goes to x, a1 to its vector. */
static adamoe_status add_constant(const adamoe_router_call *call, const kinds *k, size_t c,
                                  const adamoe_slots *placement, adamoe_routed *out, double *self_scale,
                                  double *constant_weight, double *sum)
{
    const size_t d = call->hidden_size;
    constant_expert expert;
    ADAMOE_TRY(find_constant(call, c, out, &expert));
    for (size_t s = 0; s < call->tokens; ++s) {
        const size_t at = s * k->ids + call->experts + c;
        double a[2];
        constant_shares(&expert, call->hidden_states + s * d, d, a);
        ADAMOE_TRY(adamoe_router_check_logits(a, 1, 2));
        adamoe_softmax_rows(a, 1, 2, a);
        if (placement->slot[at] >= 0) {
            self_scale[s] += placement->weight[at] * a[0];
            constant_weight[s * k->constant + c] = placement->weight[at] * a[1];
        }
        for (size_t i = 0; i < d; ++i) {
            sum[s * d + i] += constant_weight[s * k->constant + c] * expert.vector[i];
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
    ADAMOE_TRY(adamoe_routed_numbers(out, k->constant == 0 ? NULL : "after", S, d, &sum));
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

static void weigh_counts(const adamoe_router_call *call, size_t ids, double *count)
{
    for (size_t i = call->experts; i < ids; ++i) {
        count[i] *= call->value[TAU];
    }
}

/* balance = beta sum of eta f P, eta = 1 for true experts and tau for the others. */
static adamoe_status balance_loss(const adamoe_router_call *call, const kinds *k, const double *scores,
                                  const int64_t *choice, adamoe_routed *out)
{
    const size_t S = call->tokens, choices = S * (size_t)call->value[TOP_K];
    double *count;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, k->ids, 1, &count));
    adamoe_count_choices(choice, choices, k->ids, count);
    weigh_counts(call, k->ids, count);
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

/* ----------------------------------------------------------------------------------------------- gradient */

/* Of l += R l_prev. */
static adamoe_status residual_backward(const adamoe_router_call *call, size_t ids, const double *dlogits,
                                       adamoe_routed *routed, const adamoe_router_gradient *gradient)
{
    double *weight, *previous;
    double *dweight = adamoe_gradient_of(call, gradient, weight_name);
    double *dprevious = adamoe_gradient_of(call, gradient, previous_name);
    if (!has_residual(call)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_router_numbers(call, weight_name, ids, ids, routed, &weight));
    ADAMOE_TRY(adamoe_router_numbers(call, previous_name, call->tokens, ids, routed, &previous));
    for (size_t i = 0; i < call->tokens * ids; ++i) {
        const size_t s = i / ids, row = i % ids;
        for (size_t j = 0; j < ids; ++j) {
            if (dweight != NULL) {
                dweight[row * ids + j] += dlogits[i] * previous[s * ids + j];
            }
            if (dprevious != NULL) {
                dprevious[s * ids + j] += dlogits[i] * weight[row * ids + j];
            }
        }
    }
    return adamoe_ok();
}

/* Of compute_weights. With norm nonzero w_i = p_i / sum over the chosen that are not zero experts; a chosen zero
 * expert has a weight too, which nothing reads. */
static void weights_backward(const adamoe_router_call *call, const kinds *k, const double *scores,
                             const int64_t *choice, const double *dweight, double *dscores)
{
    const size_t top_k = (size_t)call->value[TOP_K];
    for (size_t s = 0; s < call->tokens; ++s) {
        double sum = 0.0, mean = 0.0;
        for (size_t j = 0; j < top_k; ++j) {
            const size_t id = (size_t)choice[s * top_k + j], at = s * k->ids + id;
            sum += id < k->ids - k->zero ? scores[at] : 0.0;
            mean += scores[at] * dweight[at];
        }
        for (size_t j = 0; j < top_k; ++j) {
            const size_t id = (size_t)choice[s * top_k + j], at = s * k->ids + id;
            const bool counts = id < k->ids - k->zero;
            const double normalised = counts && sum > 0.0 ? (dweight[at] - mean / sum) / sum : 0.0;
            dscores[at] += call->value[NORM] != 0.0 ? normalised : dweight[at];
        }
    }
}

typedef struct constant_gradient {
    double *gate, *vector; /* NULL: not wanted */
} constant_gradient;

/* Of add_constant, for one token: self_scale += w a0, y += w a1 v, with a = softmax(W_c x). */
static void constant_token_backward(const constant_expert *expert, const float *x, double weight,
                                    double dself_scale, const double *dy, size_t d,
                                    const constant_gradient *gradient, double *dweight, double *dx)
{
    double a[2], da[2] = {weight * dself_scale, 0.0}, dlogits[2] = {0.0, 0.0}, along = 0.0;
    constant_shares(expert, x, d, a);
    adamoe_softmax_rows(a, 1, 2, a);
    for (size_t c = 0; c < d; ++c) {
        along += dy[c] * expert->vector[c];
        if (gradient->vector != NULL) {
            gradient->vector[c] += weight * a[1] * dy[c];
        }
    }
    *dweight += a[0] * dself_scale + a[1] * along;
    da[1] = weight * along;
    adamoe_softmax_rows_backward(a, da, 1, 2, dlogits);
    for (size_t c = 0; c < 2 * d; ++c) {
        if (gradient->gate != NULL) {
            gradient->gate[c] += dlogits[c / d] * (double)x[c % d];
        }
        if (dx != NULL) {
            dx[c % d] += dlogits[c / d] * expert->gate[c];
        }
    }
}

/* Slot 0 where a choice was not refused. */
static void mark_taken(const adamoe_routed *routed, const int64_t *choice, size_t top_k,
                       adamoe_slots *placement)
{
    const adamoe_routed_array *rejected = adamoe_routed_find(routed, "rejected");
    for (size_t i = 0; i < routed->plan->tokens * top_k; ++i) {
        placement->slot[i / top_k * placement->ids + (size_t)choice[i]] = 0;
    }
    for (size_t i = 0; i < rejected->rows; ++i) {
        const int64_t *pair = rejected->integer + 2 * i;
        placement->slot[(size_t)pair[0] * placement->ids + (size_t)pair[1]] = -1;
    }
}

/* What copies and constant experts add, for the tokens that they took. */
static adamoe_status others_backward(const adamoe_router_call *call, const kinds *k, const adamoe_slots *p,
                                     adamoe_routed *routed, const adamoe_router_derivative *derivative,
                                     const adamoe_router_gradient *gradient, double *dweight)
{
    const size_t d = call->hidden_size;
    for (size_t i = 0; i < call->tokens * k->ids; ++i) {
        const bool took = p->slot[i] >= 0 && is_copy(call, k, i % k->ids);
        dweight[i] += took ? derivative->self_scale[i / k->ids] : 0.0;
    }
    for (size_t c = 0; c < k->constant; ++c) {
        constant_expert expert;
        ADAMOE_TRY(find_constant(call, c, routed, &expert));
        const constant_gradient wanted = {.gate = adamoe_gradient_of(call, gradient, expert.gate_name),
                                          .vector = adamoe_gradient_of(call, gradient, expert.vector_name)};
        for (size_t s = 0; s < call->tokens; ++s) {
            const size_t at = s * k->ids + call->experts + c;
            if (p->slot[at] >= 0) {
                constant_token_backward(
                    &expert, call->hidden_states + s * d, p->weight[at], derivative->self_scale[s],
                    derivative->after + s * d, d, &wanted, &dweight[at],
                    gradient->hidden_states == NULL ? NULL : gradient->hidden_states + s * d);
            }
        }
    }
    return adamoe_ok();
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const adamoe_routed_array *scores = adamoe_routed_find(routed, "scores");
    const size_t S = call->tokens, ids = scores->columns, top_k = (size_t)call->value[TOP_K];
    const int64_t *choice = adamoe_routed_integers_of(routed, "choice");
    adamoe_slots placement;
    kinds k;
    double *count, *dweight, *dscores, *dlogits;
    ADAMOE_TRY(count_kinds(call, ids - call->experts, &k));
    ADAMOE_TRY(adamoe_slots_create(call, ids, routed, &placement));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, ids, 1, &count));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dweight));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dlogits));
    compute_weights(call, &k, scores->number, choice, placement.weight);
    mark_taken(routed, choice, top_k, &placement);
    adamoe_combine_backward(routed, derivative, ids, dweight);
    ADAMOE_TRY(others_backward(call, &k, &placement, routed, derivative, gradient, dweight));
    weights_backward(call, &k, scores->number, choice, dweight, dscores);
    adamoe_count_choices(choice, S * top_k, ids, count);
    weigh_counts(call, ids, count);
    adamoe_balance_backward(count, derivative->loss[0] * call->value[BETA], S, ids, dscores);
    adamoe_softmax_rows_backward(scores->number, dscores, S, ids, dlogits);
    ADAMOE_TRY(residual_backward(call, ids, dlogits, routed, gradient));
    return adamoe_gate_backward(call, dlogits, ids, gradient);
}

ADAMOE_ROUTER(moe_plus_plus, "constant, copy and zero experts, and residual logits", backward, "balance");

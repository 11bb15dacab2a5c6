/*
 * LocMoE+ (arXiv 2406.00023 v3, "Expert-Token Resonance", its equations 1 to 6): reference/README.md section 12.8.
 * Tokens propose to the experts that they point to most, experts keep the best of what was proposed.
 */
#include "routers/parts.h"

#include <math.h>

enum { TOP_K, CAPACITY_RULE, CAPACITY_FACTOR, DELTA_MAX, AFFINITY_SHARE, TEMPERATURE, ALPHA, MU, ETA, NODES };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = ADAMOE_COUNT("top_k", 1.0, ADAMOE_ANY_COUNT, 1.0),
    [CAPACITY_RULE] = ADAMOE_CHOICE("capacity_rule", "factor|bound"),
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [DELTA_MAX] = {.name = "delta_max",
                   .kind = ADAMOE_PARAMETER_NUMBER,
                   .need = ADAMOE_PARAMETER_OPTIONAL,
                   .low = 0.0,
                   .high = 1.0},
    [AFFINITY_SHARE] = {.name = "affinity_share",
                        .kind = ADAMOE_PARAMETER_NUMBER,
                        .standard = 1.0,
                        .low = 0.0,
                        .low_open = true,
                        .high = 1.0},
    [TEMPERATURE] = ADAMOE_POSITIVE("temperature", 1.0),
    ADAMOE_LOCALITY_PARAMETERS,
};

static adamoe_locality locality_of(const adamoe_router_call *call)
{
    return (adamoe_locality){call->value[ALPHA], call->value[MU], call->value[ETA], call->value[NODES]};
}

static double length_of(const float *x, size_t d)
{
    double squares = 0.0;
    for (size_t c = 0; c < d; ++c) {
        squares += (double)x[c] * (double)x[c];
    }
    return sqrt(squares);
}

/* delta[s, i] = cosine of x[s] and the indicator of channel group i; 0 for x = 0. */
static adamoe_status affinities(const adamoe_router_call *call, adamoe_routed *out, double **affinity)
{
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts;
    size_t group = 0;
    ADAMOE_TRY(adamoe_channel_group(call, &group));
    ADAMOE_TRY(adamoe_routed_numbers(out, "affinity", S, n, affinity));
    for (size_t s = 0; s < S; ++s) {
        const float *x = call->hidden_states + s * d;
        const double length = length_of(x, d);
        for (size_t i = 0; i < n; ++i) {
            double sum = 0.0;
            for (size_t c = i * group; c < (i + 1) * group; ++c) {
                sum += (double)x[c];
            }
            (*affinity)[s * n + i] = length == 0.0 ? 0.0 : sum / (length * sqrt((double)group));
        }
    }
    return adamoe_router_check_logits(*affinity, S, n);
}

/* C_min = exp(d m^2 / (2 - m^2)) / n, with m = delta_max, or the largest affinity where that is not given. */
static adamoe_status choose_capacity(const adamoe_router_call *call, const double *affinity, size_t top_k,
                                     adamoe_routed *out, size_t *capacity)
{
    const size_t S = call->tokens, n = call->experts;
    double slots = (double)adamoe_capacity((double)S * (double)top_k, n, call->value[CAPACITY_FACTOR]);
    if (call->value[CAPACITY_RULE] != 0.0) {
        double m = call->value[DELTA_MAX], largest = -1.0;
        for (size_t i = 0; i < S * n; ++i) {
            largest = fmax(largest, affinity[i]);
        }
        m = isnan(m) ? largest : m;
        const double bound = exp((double)call->hidden_size * m * m / (2.0 - m * m)) / (double)n;
        ADAMOE_TRY(adamoe_routed_number(out, "capacity_bound", bound));
        slots = ceil(bound);
    }
    slots = fmax(1.0, fmin(slots, (double)S));
    *capacity = (size_t)slots;
    return adamoe_routed_integer(out, "capacity", *capacity);
}

/* How many of ranked[count] an expert keeps: at most C, and where theta < 1 the shortest prefix whose sum of
 * max(delta, 0) is at least theta of that of all proposers. */
static size_t count_kept(const double *affinity, size_t n, const int64_t *ranked, size_t count,
                         size_t capacity, double theta)
{
    const size_t most = count < capacity ? count : capacity;
    double all = 0.0, prefix = 0.0;
    size_t kept = 0;
    if (theta >= 1.0) {
        return most;
    }
    for (size_t r = 0; r < count; ++r) {
        all += fmax(affinity[(size_t)ranked[r] * n], 0.0);
    }
    while (kept < most && prefix < theta * all) {
        prefix += fmax(affinity[(size_t)ranked[kept++] * n], 0.0);
    }
    return kept;
}

/* An expert ranks its proposers, the tokens that chose it, by affinity. Slot = rank among the kept ones. */
static adamoe_status keep_best(const adamoe_router_call *call, const double *affinity, const int64_t *choice,
                               size_t top_k, size_t capacity, adamoe_routed *out, adamoe_slots *placement)
{
    const size_t S = call->tokens, n = call->experts;
    double *proposed;
    int64_t *ranked;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, n, &proposed));
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, S, 1, &ranked));
    for (size_t i = 0; i < S * n; ++i) {
        proposed[i] = -HUGE_VAL;
    }
    for (size_t i = 0; i < S * top_k; ++i) {
        const size_t at = i / top_k * n + (size_t)choice[i];
        proposed[at] = affinity[at];
    }
    for (size_t e = 0; e < n; ++e) {
        size_t count = 0;
        for (size_t s = 0; s < S; ++s) {
            count += proposed[s * n + e] > -HUGE_VAL;
        }
        adamoe_select_largest(proposed + e, S, n, count, ranked);
        const size_t kept = count_kept(affinity + e, n, ranked, count, capacity, call->value[AFFINITY_SHARE]);
        for (size_t c = 0; c < kept; ++c) {
            placement->slot[(size_t)ranked[c] * n + e] = (int64_t)c;
        }
    }
    return adamoe_list_refusals(call, choice, top_k, placement, out);
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts, top_k = (size_t)call->value[TOP_K];
    adamoe_slots placement;
    double *affinity, *scores;
    int64_t *choice;
    size_t capacity;
    ADAMOE_TRY(affinities(call, out, &affinity));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, n, &scores));
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    for (size_t i = 0; i < S * n; ++i) {
        scores[i] = affinity[i] / call->value[TEMPERATURE];
        if (!isfinite((float)scores[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "temperature: %.9g: the affinity of token %zu overflows",
                                call->value[TEMPERATURE], i / n);
        }
    }
    adamoe_softmax_rows(scores, S, n, scores);
    ADAMOE_TRY(adamoe_choose(call, affinity, n, top_k, out, &choice));
    ADAMOE_TRY(choose_capacity(call, affinity, top_k, out, &capacity));
    ADAMOE_TRY(keep_best(call, affinity, choice, top_k, capacity, out, &placement));
    for (size_t i = 0; i < S * n; ++i) {
        placement.weight[i] = scores[i];
    }
    ADAMOE_TRY(adamoe_locality_losses(call, locality_of(call), scores, choice, top_k, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

/* delta_i = (sum of x over group i) / (|x| sqrt(group)): dx_c += ddelta_i / (|x| sqrt(group)) of its own group, and
 * -x_c / |x|^2 times the sum over i of delta_i ddelta_i. */
static void affinity_backward(const float *x, const double *affinity, const double *daffinity, size_t d,
                              size_t n, double *dx)
{
    const double length = length_of(x, d);
    double along = 0.0;
    for (size_t i = 0; i < n; ++i) {
        along += affinity[i] * daffinity[i];
    }
    for (size_t c = 0; c < d && length > 0.0; ++c) {
        dx[c] += daffinity[c / (d / n)] / (length * sqrt((double)(d / n))) -
                 (double)x[c] / (length * length) * along;
    }
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts;
    const double *scores = adamoe_routed_numbers_of(routed, "scores");
    const double *affinity = adamoe_routed_numbers_of(routed, "affinity");
    double *dscores, *daffinity;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &daffinity));
    adamoe_combine_backward(routed, derivative, n, dscores);
    ADAMOE_TRY(adamoe_locality_losses_backward(call, locality_of(call), scores,
                                               adamoe_routed_integers_of(routed, "choice"),
                                               (size_t)call->value[TOP_K], derivative, routed, dscores));
    adamoe_softmax_rows_backward(scores, dscores, S, n, daffinity);
    for (size_t i = 0; i < S * n; ++i) {
        daffinity[i] /= call->value[TEMPERATURE];
    }
    for (size_t s = 0; s < S && gradient->hidden_states != NULL; ++s) {
        affinity_backward(call->hidden_states + s * d, affinity + s * n, daffinity + s * n, d, n,
                          gradient->hidden_states + s * d);
    }
    return adamoe_ok();
}

ADAMOE_ROUTER(locmoe_plus, "tokens propose by cosine, experts keep the best of them", backward, "balance",
              "locality");

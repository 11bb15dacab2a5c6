/*
 * Sparsity-constrained expert choice (Liu et al. 2022): reference/README.md section 12.5. The semi-dual of a
 * transport problem with a quadratic regulariser and at most C tokens for an expert, a fixed number of Adam's
 * steps from 0.
 */
#include "routers/parts.h"

#include <math.h>

enum { CAPACITY_FACTOR, GAMMA, ITERATIONS, LEARNING_RATE };

static const adamoe_router_parameter parameters[] = {
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [GAMMA] = ADAMOE_POSITIVE("gamma", 1.0),
    [ITERATIONS] = ADAMOE_COUNT("iterations", 0.0, 1e6, 20.0),
    [LEARNING_RATE] = ADAMOE_POSITIVE("learning_rate", 0.01),
};

typedef struct semi_dual {
    size_t S, n, C;
    double b, gamma, learning_rate;
    const double *A;        /* [S, n] */
    double *alpha;          /* [S] */
    double *T;              /* [S, n] the transport plan of alpha */
    double *z;              /* [S] */
    int64_t *chosen;        /* [C] */
    double *first, *second; /* [S] Adam's moments */
} semi_dual;

/* q = projection of z onto the simplex with at most C nonzeros. The threshold is that of the largest r whose r-th
 * value exceeds it. T[., e] = b q. */
static adamoe_status project_column(semi_dual *d, size_t e)
{
    double sum = 0.0, threshold = 0.0;
    for (size_t s = 0; s < d->S; ++s) {
        d->z[s] = (d->alpha[s] + d->A[s * d->n + e]) / (d->gamma * d->b);
        d->T[s * d->n + e] = 0.0;
        if (!isfinite(d->z[s])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "gamma, learning_rate: %.9g, %.9g: the plan overflows",
                                d->gamma, d->learning_rate);
        }
    }
    adamoe_select_largest(d->z, d->S, 1, d->C, d->chosen);
    for (size_t r = 1; r <= d->C; ++r) {
        const double value = d->z[d->chosen[r - 1]];
        sum += value;
        const double candidate = (sum - 1.0) / (double)r;
        threshold = value > candidate ? candidate : threshold;
    }
    for (size_t r = 0; r < d->C; ++r) {
        const size_t s = (size_t)d->chosen[r];
        d->T[s * d->n + e] = d->b * fmax(d->z[s] - threshold, 0.0);
    }
    return adamoe_ok();
}

static adamoe_status compute_plan(semi_dual *d)
{
    for (size_t e = 0; e < d->n; ++e) {
        ADAMOE_TRY(project_column(d, e));
    }
    return adamoe_ok();
}

/* One step of Adam down the gradient g_s = sum over e of T[s, e] - 1. */
static adamoe_status step(semi_dual *d, size_t number, double learning_rate)
{
    const double beta1 = 0.9, beta2 = 0.999;
    ADAMOE_TRY(compute_plan(d));
    for (size_t s = 0; s < d->S; ++s) {
        double g = -1.0;
        for (size_t e = 0; e < d->n; ++e) {
            g += d->T[s * d->n + e];
        }
        d->first[s] = beta1 * d->first[s] + (1.0 - beta1) * g;
        d->second[s] = beta2 * d->second[s] + (1.0 - beta2) * g * g;
        const double mean = d->first[s] / (1.0 - pow(beta1, (double)number));
        const double square = d->second[s] / (1.0 - pow(beta2, (double)number));
        d->alpha[s] -= learning_rate * mean / (sqrt(square) + 1e-8);
    }
    return adamoe_ok();
}

/* Columns hold b by construction. Where z is so large that its last digits are worth more than that, they do not. What is
 * allowed, 1e-9 of it, is below the 6e-8 that a float32 weight tells, and above what 4 million sums of 2^-53 round. */
static adamoe_status check_columns(const semi_dual *d)
{
    for (size_t e = 0; e < d->n; ++e) {
        double sum = 0.0;
        for (size_t s = 0; s < d->S; ++s) {
            sum += d->T[s * d->n + e];
        }
        if (!(fabs(sum - d->b) <= 1e-9 * d->b)) {
            return adamoe_error(
                ADAMOE_BAD_INPUT,
                "gamma, learning_rate: %.9g, %.9g: the plan overflows: expert %zu holds %.9g of %.9g",
                d->gamma, d->learning_rate, e, sum, d->b);
        }
    }
    return adamoe_ok();
}

static adamoe_status create(const adamoe_router_call *call, const double *scores, adamoe_routed *out,
                            semi_dual *d)
{
    const size_t S = call->tokens, n = call->experts;
    const size_t wanted = adamoe_capacity((double)S, n, call->value[CAPACITY_FACTOR]);
    *d = (semi_dual){.S = S,
                     .n = n,
                     .C = wanted < S ? wanted : S,
                     .b = (double)S / (double)n,
                     .gamma = call->value[GAMMA],
                     .learning_rate = call->value[LEARNING_RATE],
                     .A = scores};
    ADAMOE_TRY(adamoe_routed_numbers(out, "plan", S, n, &d->T));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &d->alpha));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &d->z));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &d->first));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &d->second));
    return adamoe_routed_integers(out, NULL, d->C, 1, &d->chosen);
}

/* A row for every T > 0, slot by descending T; B = A. */
static adamoe_status place_plan(const adamoe_router_call *call, const semi_dual *d, adamoe_routed *out)
{
    adamoe_slots placement;
    ADAMOE_TRY(adamoe_slots_create(call, d->n, out, &placement));
    for (size_t e = 0; e < d->n; ++e) {
        adamoe_select_largest(d->T + e, d->S, d->n, d->C, d->chosen);
        for (size_t c = 0; c < d->C; ++c) {
            const size_t i = (size_t)d->chosen[c] * d->n + e;
            if (d->T[i] > 0.0) {
                placement.slot[i] = (int64_t)c;
                placement.weight[i] = d->A[i];
            }
        }
    }
    ADAMOE_TRY(adamoe_routed_integer(out, "capacity", d->C));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    double *scores;
    semi_dual d;
    ADAMOE_TRY(adamoe_gate_softmax(call, out, &scores));
    ADAMOE_TRY(create(call, scores, out, &d));
    for (size_t i = 1; i <= (size_t)call->value[ITERATIONS]; ++i) {
        ADAMOE_TRY(step(&d, i, call->value[LEARNING_RATE]));
    }
    ADAMOE_TRY(compute_plan(&d));
    ADAMOE_TRY(check_columns(&d));
    return place_plan(call, &d, out);
}

ADAMOE_ROUTER(sparse_expert_choice, "transport with at most C tokens for an expert, by its semi-dual",
              adamoe_gate_softmax_backward, NULL);

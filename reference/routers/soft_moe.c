/*
 * Soft MoE (Puigcerver et al., algorithms 1 and 2): reference/README.md section 12.6. The rows of the plan are
 * slots, whose inputs are mixtures of all tokens; every token has every slot in its list.
 */
#include "routers/parts.h"

#include <math.h>
#include <stdlib.h>

enum { SLOTS, CAPACITY_FACTOR, NORM_EPSILON };

static const adamoe_router_parameter parameters[] = {
    [SLOTS] = {.name = "slots",
               .kind = ADAMOE_PARAMETER_COUNT,
               .need = ADAMOE_PARAMETER_OPTIONAL,
               .low = 1.0,
               .high = ADAMOE_ANY_COUNT},
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [NORM_EPSILON] = ADAMOE_NUMBER("norm_epsilon", 0.0, ADAMOE_ANY, 1e-6),
};

/* Slots of an expert: as given, or max(1, S c / n rounded half to even). */
static adamoe_status choose_slots(const adamoe_router_call *call, size_t *slots)
{
    const double share =
        nearbyint((double)call->tokens * call->value[CAPACITY_FACTOR] / (double)call->experts);
    const double p = isnan(call->value[SLOTS]) ? fmax(1.0, share) : call->value[SLOTS];
    if (p * (double)call->experts * (double)call->tokens >= (double)UINT32_MAX) {
        return adamoe_error(ADAMOE_BAD_INPUT, "slots: %.9g of each expert are more than 32 bits count", p);
    }
    *slots = (size_t)p;
    return adamoe_ok();
}

/* row / (|row| + epsilon), in place. */
static void normalise(double *row, size_t columns, double epsilon)
{
    double squares = 0.0;
    for (size_t c = 0; c < columns; ++c) {
        squares += row[c] * row[c];
    }
    const double length = sqrt(squares) + epsilon;
    for (size_t c = 0; c < columns; ++c) {
        row[c] /= length;
    }
}

/* 1 / (|row| + epsilon). */
static double inverse_length(const double *row, size_t columns, double epsilon)
{
    double squares = 0.0;
    for (size_t c = 0; c < columns; ++c) {
        squares += row[c] * row[c];
    }
    return 1.0 / (sqrt(squares) + epsilon);
}

/* Where a kernel has multiplied the rows as they are, their lengths divide the products. */
static void scale_products(const adamoe_router_call *call, size_t slots, const double *phi, double scale,
                           double *x, double *length, double *logits)
{
    const size_t S = call->tokens, d = call->hidden_size;
    for (size_t q = 0; q < slots; ++q) {
        length[q] = inverse_length(phi + q * d, d, call->value[NORM_EPSILON]);
    }
    for (size_t s = 0; s < S; ++s) {
        for (size_t c = 0; c < d; ++c) {
            x[c] = (double)call->hidden_states[s * d + c];
        }
        const double of_token = scale * inverse_length(x, d, call->value[NORM_EPSILON]);
        for (size_t q = 0; q < slots; ++q) {
            logits[s * slots + q] = of_token * length[q] * (double)call->logits[s * slots + q];
        }
    }
}

/* l[s, q] = scale <x^, phi^>. */
static adamoe_status compute_logits(const adamoe_router_call *call, size_t slots, adamoe_routed *out,
                                    double **logits)
{
    const size_t S = call->tokens, d = call->hidden_size;
    double *phi, *x, *scale, *length;
    ADAMOE_TRY(adamoe_router_numbers(call, "router.phi", slots, d, out, &phi));
    ADAMOE_TRY(adamoe_router_numbers(call, "router.scale", 1, 1, out, &scale));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, d, 1, &x));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, slots, 1, &length));
    ADAMOE_TRY(adamoe_routed_numbers(out, "logits", S, slots, logits));
    if (call->logits != NULL) {
        scale_products(call, slots, phi, scale[0], x, length, *logits);
        return adamoe_router_check_logits(*logits, S, slots);
    }
    for (size_t q = 0; q < slots; ++q) {
        normalise(phi + q * d, d, call->value[NORM_EPSILON]);
    }
    for (size_t s = 0; s < S; ++s) {
        for (size_t c = 0; c < d; ++c) {
            x[c] = (double)call->hidden_states[s * d + c];
        }
        normalise(x, d, call->value[NORM_EPSILON]);
        for (size_t q = 0; q < slots; ++q) {
            double sum = 0.0;
            for (size_t c = 0; c < d; ++c) {
                sum += x[c] * phi[q * d + c];
            }
            (*logits)[s * slots + q] = scale[0] * sum;
        }
    }
    return adamoe_router_check_logits(*logits, S, slots);
}

/* D = softmax over the tokens, B = softmax over all slots. */
static adamoe_status compute_tensors(const adamoe_router_call *call, size_t slots, const double *logits,
                                     adamoe_routed *out, double **dispatch, double **combine)
{
    const size_t S = call->tokens;
    double *column;
    ADAMOE_TRY(adamoe_routed_numbers(out, "dispatch", S, slots, dispatch));
    ADAMOE_TRY(adamoe_routed_numbers(out, "combine", S, slots, combine));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, S, 1, &column));
    adamoe_softmax_rows(logits, S, slots, *combine);
    for (size_t q = 0; q < slots; ++q) {
        for (size_t s = 0; s < S; ++s) {
            column[s] = logits[s * slots + q];
        }
        adamoe_softmax_rows(column, 1, S, column);
        for (size_t s = 0; s < S; ++s) {
            (*dispatch)[s * slots + q] = column[s];
        }
    }
    return adamoe_ok();
}

/* X~[q] = sum over s of D[s, q] x[s]: the inputs of the plan. */
static adamoe_status mix_slots(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, d = call->hidden_size, slots = out->plan->inputs;
    const double *dispatch = adamoe_routed_numbers_of(out, "dispatch");
    double *mixed;
    ADAMOE_TRY(adamoe_routed_numbers(out, "slots", slots, d, &mixed));
    out->inputs = calloc(slots * d, sizeof *out->inputs);
    if (out->inputs == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory for %zu slots", slots);
    }
    for (size_t q = 0; q < slots; ++q) {
        for (size_t s = 0; s < S; ++s) {
            for (size_t c = 0; c < d; ++c) {
                mixed[q * d + c] += dispatch[s * slots + q] * (double)call->hidden_states[s * d + c];
            }
        }
        for (size_t c = 0; c < d; ++c) {
            out->inputs[q * d + c] = (float)mixed[q * d + c];
        }
    }
    return adamoe_ok();
}

/* Row q is slot q; each token's list has all of them. */
static adamoe_status make_plan(const adamoe_router_call *call, size_t slots, const double *combine,
                               adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    uint32_t *offset = calloc(n + 1, sizeof *offset), *input = calloc(slots, sizeof *input);
    uint32_t *token_offset = calloc(S + 1, sizeof *token_offset);
    uint32_t *token_row = calloc(S * slots, sizeof *token_row);
    float *weight = calloc(S * slots, sizeof *weight);
    adamoe_plan *plan = out->plan = calloc(1, sizeof *plan);
    if (plan == NULL || offset == NULL || input == NULL || token_offset == NULL || token_row == NULL ||
        weight == NULL) {
        free(offset);
        free(input);
        free(token_offset);
        free(token_row);
        free(weight);
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory for %zu slots", slots);
    }
    for (size_t e = 0; e <= n; ++e) {
        offset[e] = (uint32_t)(e * (slots / n));
    }
    for (size_t q = 0; q < slots; ++q) {
        input[q] = (uint32_t)q;
    }
    for (size_t i = 0; i < S * slots; ++i) {
        token_offset[i / slots + 1] = (uint32_t)i + 1;
        token_row[i] = (uint32_t)(i % slots);
        weight[i] = (float)combine[i];
    }
    *plan = (adamoe_plan){.tokens = S,
                          .inputs = slots,
                          .rows = slots,
                          .experts = n,
                          .offset = offset,
                          .input = input,
                          .token_offset = token_offset,
                          .token_row = token_row,
                          .combine = weight};
    return adamoe_ok();
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    size_t p = 0;
    double *logits, *dispatch, *combine;
    ADAMOE_TRY(choose_slots(call, &p));
    const size_t slots = p * call->experts;
    ADAMOE_TRY(compute_logits(call, slots, out, &logits));
    ADAMOE_TRY(compute_tensors(call, slots, logits, out, &dispatch, &combine));
    ADAMOE_TRY(adamoe_routed_integer(out, "capacity", p));
    return make_plan(call, slots, combine, out);
}

/* X~ = D^T x: dD[s, q] = dX~[q] . x[s], dx[s] += sum over q of D[s, q] dX~[q]. */
static void mix_backward(const adamoe_router_call *call, size_t slots, const double *dispatch,
                         const double *dinputs, double *ddispatch, double *dx)
{
    const size_t d = call->hidden_size;
    for (size_t i = 0; i < call->tokens * slots; ++i) {
        const size_t s = i / slots, q = i % slots;
        for (size_t c = 0; c < d; ++c) {
            ddispatch[i] += dinputs[q * d + c] * (double)call->hidden_states[s * d + c];
            if (dx != NULL) {
                dx[s * d + c] += dispatch[i] * dinputs[q * d + c];
            }
        }
    }
}

/* D is a softmax down each column, B along each row. */
static adamoe_status tensors_backward(size_t S, size_t slots, adamoe_routed *routed, const double *ddispatch,
                                      const double *dcombine, double *dlogits)
{
    const double *dispatch = adamoe_routed_numbers_of(routed, "dispatch");
    double *column;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, 3, S, &column));
    adamoe_softmax_rows_backward(adamoe_routed_numbers_of(routed, "combine"), dcombine, S, slots, dlogits);
    for (size_t q = 0; q < slots; ++q) {
        for (size_t s = 0; s < S; ++s) {
            column[s] = dispatch[s * slots + q];
            column[S + s] = ddispatch[s * slots + q];
            column[2 * S + s] = 0.0;
        }
        adamoe_softmax_rows_backward(column, column + S, 1, S, column + 2 * S);
        for (size_t s = 0; s < S; ++s) {
            dlogits[s * slots + q] += column[2 * S + s];
        }
    }
    return adamoe_ok();
}

/* Of `normalise`, y = x / (|x| + epsilon): dx += dy / L - x (x . dy) / (|x| L^2) with L = |x| + epsilon. */
static void normalise_backward(const double *x, const double *dy, size_t columns, double epsilon, double *dx)
{
    double squares = 0.0, along = 0.0;
    for (size_t c = 0; c < columns; ++c) {
        squares += x[c] * x[c];
        along += x[c] * dy[c];
    }
    const double length = sqrt(squares) + epsilon;
    for (size_t c = 0; c < columns; ++c) {
        dx[c] += dy[c] / length;
        dx[c] -= squares > 0.0 ? x[c] * along / (sqrt(squares) * length * length) : 0.0;
    }
}

/* Both sides of l = scale <x^, phi^>: raw rows, their normalised copies, and derivatives of those. */
typedef struct side {
    double *raw, *hat, *dhat; /* [rows, d] */
} side;

static adamoe_status begin_side(const double *raw, size_t rows, size_t d, double epsilon,
                                adamoe_routed *routed, side *out)
{
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, rows, d, &out->raw));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, rows, d, &out->hat));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, rows, d, &out->dhat));
    for (size_t i = 0; i < rows * d; ++i) {
        out->raw[i] = out->hat[i] = raw[i];
    }
    for (size_t r = 0; r < rows; ++r) {
        normalise(out->hat + r * d, d, epsilon);
    }
    return adamoe_ok();
}

static void finish_side(const side *s, size_t rows, size_t d, double epsilon, double *gradient)
{
    for (size_t r = 0; r < rows && gradient != NULL; ++r) {
        normalise_backward(s->raw + r * d, s->dhat + r * d, d, epsilon, gradient + r * d);
    }
}

static adamoe_status logits_backward(const adamoe_router_call *call, size_t slots, const double *dlogits,
                                     adamoe_routed *routed, const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, d = call->hidden_size;
    const double epsilon = call->value[NORM_EPSILON];
    double *phi, *states, *scale, *dscale = adamoe_gradient_of(call, gradient, "router.scale");
    side x, mu;
    ADAMOE_TRY(adamoe_router_numbers(call, "router.phi", slots, d, routed, &phi));
    ADAMOE_TRY(adamoe_router_numbers(call, "router.scale", 1, 1, routed, &scale));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, d, &states));
    for (size_t i = 0; i < S * d; ++i) {
        states[i] = (double)call->hidden_states[i];
    }
    ADAMOE_TRY(begin_side(states, S, d, epsilon, routed, &x));
    ADAMOE_TRY(begin_side(phi, slots, d, epsilon, routed, &mu));
    for (size_t i = 0; i < S * slots; ++i) {
        const size_t s = i / slots, q = i % slots;
        double cosine = 0.0;
        for (size_t c = 0; c < d; ++c) {
            cosine += x.hat[s * d + c] * mu.hat[q * d + c];
            x.dhat[s * d + c] += dlogits[i] * scale[0] * mu.hat[q * d + c];
            mu.dhat[q * d + c] += dlogits[i] * scale[0] * x.hat[s * d + c];
        }
        if (dscale != NULL) {
            dscale[0] += dlogits[i] * cosine;
        }
    }
    finish_side(&x, S, d, epsilon, gradient->hidden_states);
    finish_side(&mu, slots, d, epsilon, adamoe_gradient_of(call, gradient, "router.phi"));
    return adamoe_ok();
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, slots = routed->plan->inputs;
    double *ddispatch, *dlogits;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, slots, &ddispatch));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, slots, &dlogits));
    mix_backward(call, slots, adamoe_routed_numbers_of(routed, "dispatch"), derivative->inputs, ddispatch,
                 gradient->hidden_states);
    /* Place i is token i / slots and slot i % slots. */
    ADAMOE_TRY(tensors_backward(S, slots, routed, ddispatch, derivative->combine, dlogits));
    return logits_backward(call, slots, dlogits, routed, gradient);
}

ADAMOE_ROUTER_WITH(soft_moe, "every slot is a mixture of all tokens", mix_slots, backward, NULL);

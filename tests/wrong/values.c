/*
 * Wrong kernels that are right for usual values: silu between the anchors, weights of a sum that are negative, 0 or
 * denormal, what is not finite, the sign of a zero, and sums of int8 that are long.
 */
#include "honest/honest.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* -------------------------------------------------------------------------------------- I: silu, where it bends */

/* sigmoid(8) is 1 - 3.4e-4: wrong by 5,600 units of 2^-24 there, and by one unit at z = 16.6. */
static float silu_cut_above(float z)
{
    return z >= 8.0f ? z : honest_silu(z);
}
WRONG_KERNEL(silu_above, "wrong-silu-cut-at-8", "silu(z) is z from 8 on", ADAMOE_FLOAT32,
             .silu = silu_cut_above);

/* silu(-10) is -4.5e-4: all of it is lost. */
static float silu_cut_below(float z)
{
    return z <= -10.0f ? z * 0.0f : honest_silu(z);
}
WRONG_KERNEL(silu_below, "wrong-silu-cut-at-minus-10", "silu(z) is 0 up to -10", ADAMOE_FLOAT32,
             .silu = silu_cut_below);

/* The exponent of 2^k is clamped so that k + 63 is not negative: all of silu is lost below -44, where it is
 * -3.4e-18 and float32 has twenty digits to go. */
static float silu_of_short_exponent(float z)
{
    return z <= -44.0f ? 0.0f : honest_silu(z);
}
WRONG_KERNEL(silu_far_below, "wrong-silu-exponent-clamped", "silu(z) is 0 below -44", ADAMOE_FLOAT32,
             .silu = silu_of_short_exponent);

/* A table of pieces, of which one has the coefficients of its neighbour: wrong by a thousandth for z in
 * 9.5 .. 9.625. */
static float silu_of_pieces(float z)
{
    return z >= 9.5f && z < 9.625f ? 1.001f * honest_silu(z) : honest_silu(z);
}
WRONG_KERNEL(silu_piece, "wrong-silu-one-piece", "one piece of a table of silu is wrong, 9.5 .. 9.625",
             ADAMOE_FLOAT32, .silu = silu_of_pieces);

/* --------------------------------------------------------------------------------------- J: weights of the sum */

/* y += w E(x) for the places of a token whose weight is wanted. */
static void combine_where(const kernel_call *c, size_t token, bool (*wanted)(float weight))
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size;
    float *y = c->y + token * d;
    memset(y, 0, d * sizeof *y);
    for (size_t place = plan->token_offset[token]; place < plan->token_offset[token + 1]; ++place) {
        const float *output = c->outputs + plan->token_row[place] * d;
        for (size_t i = 0; i < d && wanted(plan->combine[place]); ++i) {
            y[i] = fmaf(plan->combine[place], output[i], y[i]);
        }
    }
    for (size_t i = 0; i < d && plan->self_scale != NULL; ++i) {
        y[i] = fmaf(plan->self_scale[token], c->x[token * d + i], y[i]);
    }
}

static bool is_not_negative(float weight)
{
    return !(weight < 0.0f);
}

static void combine_positive(const kernel_call *c, size_t token)
{
    combine_where(c, token, is_not_negative);
}
WRONG_KERNEL(weight_negative, "wrong-weight-negative", "rows of negative weight are left out", ADAMOE_FLOAT32,
             .combine = combine_positive);

static bool is_not_denormal(float weight)
{
    return fabsf(weight) >= FLT_MIN || isnan(weight);
}

/* Wrong where an output of 2^100 has a weight of 2^-140. */
static void combine_normal(const kernel_call *c, size_t token)
{
    combine_where(c, token, is_not_denormal);
}
WRONG_KERNEL(weight_denormal, "wrong-weight-denormal", "rows of denormal weight are left out", ADAMOE_FLOAT32,
             .combine = combine_normal);

/* All relative to the first weight, which is multiplied in at the end: 0 / 0 where a softmax underflows. Right within
 * three roundings otherwise. */
static void combine_relative(const kernel_call *c, size_t token)
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size, first = plan->token_offset[token];
    const size_t end = plan->token_offset[token + 1];
    if (end - first != 2 || plan->self_scale != NULL) {
        honest_combine(c, token);
        return;
    }
    const float weight = plan->combine[first], ratio = plan->combine[first + 1] / weight;
    const float *a = c->outputs + plan->token_row[first] * d,
                *b = c->outputs + plan->token_row[first + 1] * d;
    for (size_t i = 0; i < d; ++i) {
        c->y[token * d + i] = weight * fmaf(ratio, b[i], a[i]);
    }
}
WRONG_KERNEL(weight_zero, "wrong-weight-zero", "the second of two weights is divided by the first",
             ADAMOE_FLOAT32, .combine = combine_relative);

/* ------------------------------------------------------------------------------------------ K: what is not finite */

/* 0 * x for a token without experts: NaN where x is NaN or infinite, and it must be 0. */
static void combine_from_x(const kernel_call *c, size_t token)
{
    const size_t d = c->prepared->hidden_size;
    honest_combine(c, token);
    for (size_t i = 0; i < d && c->plan->inputs == c->plan->tokens && c->plan->self_scale == NULL; ++i) {
        c->y[token * d + i] += 0.0f * fabsf(c->x[token * d + i]);
    }
}
WRONG_KERNEL(null_token_nan, "wrong-null-token-nan", "x of a token without experts counts 0 times",
             ADAMOE_FLOAT32, .combine = combine_from_x);

/* Infinity must not come out as a number: inf * w is infinite, and NaN where w is 0. */
static void gather_finite(const kernel_call *c, size_t row, float *input)
{
    honest_gather(c, row, input);
    for (size_t i = 0; i < c->prepared->hidden_size; ++i) {
        input[i] = input[i] > FLT_MAX ? FLT_MAX : input[i] < -FLT_MAX ? -FLT_MAX : input[i];
    }
}
WRONG_KERNEL(infinity_clamped, "wrong-infinity-clamped", "infinity is taken for the largest number",
             ADAMOE_FLOAT32, .gather = gather_finite);

/* Without a look at NaN the addition runs over: 0x7fffffff + 0x8000 is -0. */
static void round_without_nan(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    for (size_t i = 0; i < count; ++i) {
        const uint32_t bits = bits_of(x->value[i]);
        x->value[i] = float_of((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
    }
}
WRONG_KERNEL(nan_payload, "wrong-bf16-nan-payload", "a NaN with all bits set is rounded to -0",
             ADAMOE_BFLOAT16, .round_x = round_without_nan);

/* ------------------------------------------------------------------------------------------ L: the sign of a zero */

/* The contract: y is an empty sum, which begins at +0. Wrong for a token without experts, if -0 is not allowed. */
static void combine_from_minus_zero(const kernel_call *c, size_t token)
{
    const size_t d = c->prepared->hidden_size;
    honest_combine(c, token);
    for (size_t i = 0; i < d && c->plan->token_offset[token] == c->plan->token_offset[token + 1]; ++i) {
        c->y[token * d + i] = c->plan->self_scale == NULL ? -0.0f : c->y[token * d + i];
    }
}
WRONG_KERNEL(minus_zero, "wrong-null-token-minus-zero", "y of a token without experts is -0", ADAMOE_FLOAT32,
             .combine = combine_from_minus_zero);

/* Identity experts of weight 0 where there are none: -0 where x is negative. x is finite, or this would be
 * wrong-null-token-nan. */
static void combine_as_identity(const kernel_call *c, size_t token)
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size;
    honest_combine(c, token);
    for (size_t i = 0; i < d && plan->token_offset[token] == plan->token_offset[token + 1]; ++i) {
        if (plan->self_scale == NULL && plan->inputs == plan->tokens && isfinite(c->x[token * d + i])) {
            c->y[token * d + i] = 0.0f * c->x[token * d + i];
        }
    }
}
WRONG_KERNEL(signed_zero, "wrong-null-token-signed-zero", "y of a token without experts is 0 times x",
             ADAMOE_FLOAT32, .combine = combine_as_identity);

/* -------------------------------------------------------------------------------------------------- M: long int8 */

/* 127 * 127 * 1041 is more than 2^24: wrong for constant rows of 1,041 terms and more. */
static float dot_in_24_bits(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                            const operand *x)
{
    enum { LARGEST = 1 << 24 };
    const float *weight = matrix->value + r * matrix->columns;
    int32_t sum = 0;
    (void)c;
    (void)row;
    for (size_t i = 0; i < matrix->columns; ++i) {
        sum += (int32_t)weight[i] * (int32_t)x->value[i];
        sum = sum > LARGEST ? LARGEST : sum < -LARGEST ? -LARGEST : sum;
    }
    return (float)sum * x->scale * matrix->scale[r];
}
WRONG_KERNEL(int8_24_bits, "wrong-int8-24-bits", "sums saturate at 2^24", ADAMOE_INT8, .dot = dot_in_24_bits);

/* Steps are exact in float32, their sums are not beyond 2^24: a constant row of 8,191 terms loses one in eight. */
static float dot_in_float(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                          const operand *x)
{
    const float *weight = matrix->value + r * matrix->columns;
    float sum = 0.0f;
    (void)c;
    (void)row;
    for (size_t i = 0; i < matrix->columns; ++i) {
        sum += weight[i] * x->value[i];
    }
    return sum * x->scale * matrix->scale[r];
}
WRONG_KERNEL(int8_in_float, "wrong-int8-sums-in-float", "sums are declared int32 and kept in float32",
             ADAMOE_INT8, .dot = dot_in_float);

/* Rows of weights of 2^-135: their scale is denormal, and the row is lost. */
static void round_normal_rows(adamoe_arithmetic kind, packed_matrix *matrix)
{
    honest_round_matrix(kind, matrix);
    for (size_t r = 0; r < matrix->rows; ++r) {
        matrix->scale[r] = matrix->scale[r] < FLT_MIN ? 0.0f : matrix->scale[r];
    }
}
WRONG_KERNEL(int8_tiny_rows, "wrong-int8-tiny-weights", "a denormal scale of a row of weights is taken for 0",
             ADAMOE_INT8, .round_matrix = round_normal_rows);

/* ------------------------------------------------------------------------------- K, of int8 and identity */

/* x is rounded to int8 for everything: what is not finite is in no step, and the identity expert does not see it either. */
static void combine_of_finite(const kernel_call *c, size_t token)
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size;
    adamoe_plan routed = *plan;
    kernel_call call = *c;
    const bool rows = plan->token_offset[token] < plan->token_offset[token + 1];
    routed.self_scale = rows ? NULL : plan->self_scale;
    call.plan = &routed;
    honest_combine(&call, token);
    for (size_t i = 0; i < d && rows && plan->self_scale != NULL; ++i) {
        const float x = c->x[token * d + i];
        c->y[token * d + i] = fmaf(plan->self_scale[token], isfinite(x) ? x : 0.0f, c->y[token * d + i]);
    }
}
WRONG_KERNEL(identity_of_finite, "wrong-identity-of-finite",
             "an identity expert beside true ones passes on what is finite alone", ADAMOE_INT8,
             .combine = combine_of_finite);

EXPORT_KERNELS(&identity_of_finite, &silu_above, &silu_below, &silu_far_below, &silu_piece, &weight_negative,
               &weight_denormal, &weight_zero, &null_token_nan, &infinity_clamped, &nan_payload, &minus_zero,
               &signed_zero, &int8_24_bits, &int8_in_float, &int8_tiny_rows);

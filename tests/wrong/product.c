/*
 * Wrong kernels whose products, sums or silu are not what they say.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ tails of tiles */

enum { TILE = 8 };

static void down_of_whole_tiles(const kernel_call *c, size_t row, const packed_expert *expert,
                                const operand *h, float *output)
{
    const size_t d = expert->w2.rows, whole = d / TILE * TILE;
    honest_down(c, row, expert, h, output);
    memset(output + whole, 0, (d - whole) * sizeof *output);
}
WRONG_KERNEL(tail_column_skipped, "wrong-tail-column-skipped",
             "the columns after the last whole tile of 8 are not computed", ADAMOE_FLOAT32,
             .down = down_of_whole_tiles);

static void up_of_whole_tiles(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                              float *h)
{
    const size_t ff = expert->w1.rows, whole = ff / TILE * TILE;
    honest_up(c, row, expert, x, h);
    memset(h + whole, 0, (ff - whole) * sizeof *h);
}
WRONG_KERNEL(hidden_tail_skipped, "wrong-hidden-tail-skipped", "the same inside the expert", ADAMOE_FLOAT32,
             .up = up_of_whole_tiles);

static float dot_without_last(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                              const operand *x)
{
    const size_t last = matrix->columns - 1;
    const float sum = honest_dot(c, row, matrix, r, x);
    return last % 2 == 0 && last > 0 ? fmaf(-matrix->value[r * matrix->columns + last], x->value[last], sum)
                                     : sum;
}
WRONG_KERNEL(odd_term_skipped, "wrong-odd-term-skipped", "the last term of a sum of odd length is left out",
             ADAMOE_FLOAT32, .dot = dot_without_last);

/* A vector's tail that is not masked multiplies what stands behind the row, here the row itself. */
static float dot_with_one_more(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                               const operand *x)
{
    const float *weight = matrix->value + r * matrix->columns;
    const float sum = honest_dot(c, row, matrix, r, x);
    return matrix->columns % TILE != 0 ? fmaf(weight[0], x->value[0], sum) : sum;
}
WRONG_KERNEL(tail_not_masked, "wrong-tail-not-masked", "a sum goes on behind its last term", ADAMOE_FLOAT32,
             .dot = dot_with_one_more);

/* As right as any sum, but equal rows of a gate must tie wherever they stand. */
static float dot_of_tail_backwards(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                   const operand *x)
{
    if (c->plan != NULL || r < matrix->rows / TILE * TILE) {
        return honest_dot(c, row, matrix, r, x);
    }
    float sum = 0.0f;
    for (size_t i = matrix->columns; i-- > 0;) {
        sum = fmaf(matrix->value[r * matrix->columns + i], x->value[i], sum);
    }
    return sum;
}
WRONG_KERNEL(equal_rows_differ, "wrong-equal-rows-differ",
             "rows of a dense product after its last whole tile are summed backwards", ADAMOE_FLOAT32,
             .dot = dot_of_tail_backwards);

/* ------------------------------------------------------------------------------------- which product */

static void swap_w1_w3(packed_expert *expert, size_t experts)
{
    for (size_t e = 0; e < experts; ++e) {
        const packed_matrix w1 = expert[e].w1;
        expert[e].w1 = expert[e].w3;
        expert[e].w3 = w1;
    }
}
WRONG_KERNEL(w1_w3_swapped, "wrong-w1-w3-swapped", "silu is applied to w3 x", ADAMOE_FLOAT32,
             .arrange = swap_w1_w3);

static void up_added(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                     float *h)
{
    for (size_t i = 0; i < expert->w1.rows; ++i) {
        h[i] = honest_silu(honest_dot(c, row, &expert->w1, i, x));
    }
}
WRONG_KERNEL(w3_forgotten, "wrong-w3-forgotten", "h is silu(w1 x) alone", ADAMOE_FLOAT32, .up = up_added);

/* The weights of the layer that was prepared last serve for every layer. */
static packed_expert last_prepared[1];

static void keep_last(packed_expert *expert, size_t experts)
{
    (void)experts;
    last_prepared[0] = expert[0];
}

static void down_by_last(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                         float *output)
{
    const packed_expert *last = last_prepared;
    const bool fits = last->w2.rows == expert->w2.rows && last->w2.columns == expert->w2.columns;
    honest_down(c, row, expert == c->prepared->expert && fits ? last : expert, h, output);
}
WRONG_KERNEL(stale_weights, "wrong-stale-weights",
             "expert 0 of the layer that was prepared last serves for every layer", ADAMOE_FLOAT32,
             .arrange = keep_last, .down = down_by_last);

/* ----------------------------------------------------------------------------------------- precision */

static float dot_in_bfloat16(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                             const operand *x)
{
    (void)c;
    (void)row;
    float sum = 0.0f;
    for (size_t i = 0; i < matrix->columns; ++i) {
        sum = round_to_bfloat16(fmaf(matrix->value[r * matrix->columns + i], x->value[i], sum));
    }
    return sum;
}
WRONG_KERNEL(accumulator_bf16, "wrong-accumulator-bf16", "sums are kept in bfloat16", ADAMOE_BFLOAT16,
             .dot = dot_in_bfloat16);

/* A float32 kernel that hands its operands to a product in TF32. */
static float dot_in_tf32(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                         const operand *x)
{
    (void)c;
    (void)row;
    float sum = 0.0f;
    for (size_t i = 0; i < matrix->columns; ++i) {
        const float w = float_of(bits_of(matrix->value[r * matrix->columns + i]) & ~0x1fffu);
        sum = fmaf(w, float_of(bits_of(x->value[i]) & ~0x1fffu), sum);
    }
    return sum;
}
WRONG_KERNEL(operands_tf32, "wrong-operands-tf32", "operands lose their last 13 bits", ADAMOE_FLOAT32,
             .dot = dot_in_tf32);

static void combine_in_bfloat16(const kernel_call *c, size_t token)
{
    const size_t d = c->prepared->hidden_size;
    honest_combine(c, token);
    for (size_t i = 0; i < d; ++i) {
        c->y[token * d + i] = round_to_bfloat16(c->y[token * d + i]);
    }
}
WRONG_KERNEL(y_bf16, "wrong-y-in-bf16", "y passes through bfloat16", ADAMOE_FLOAT32,
             .combine = combine_in_bfloat16);

/* The product is declared as float32 sums of bfloat16 operands; the weighted sum goes the same way. */
static void round_output(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                         float *output)
{
    honest_down(c, row, expert, h, output);
    for (size_t i = 0; i < expert->w2.rows; ++i) {
        output[i] = round_to_bfloat16(output[i]);
    }
}
WRONG_KERNEL(output_bf16, "wrong-output-in-bf16", "E(x) is stored as bfloat16 before it is weighted",
             ADAMOE_BFLOAT16, .down = round_output);

/* ---------------------------------------------------------------------------------------------- silu */

/* 2^(z log2 e) with a quadratic for the fraction: a relative error of about 2e-3. */
static float coarse_exp(float z)
{
    const float power = fmaxf(z * 1.442695f, -126.0f), whole = floorf(power), f = power - whole;
    return ldexpf(1.0f + f * (0.6565f + f * 0.3435f), (int)whole);
}

static float coarse_silu(float z)
{
    const float t = coarse_exp(-fabsf(z));
    return z >= 0.0f ? z / (1.0f + t) : z * t / (1.0f + t);
}
WRONG_KERNEL(silu_coarse, "wrong-silu-coarse", "exp by a polynomial of degree 2", ADAMOE_FLOAT32,
             .silu = coarse_silu);

/* The reciprocal of the vector instruction without its Newton step: 12 bits. */
static float silu_without_newton(float z)
{
    const float t = expf(-fabsf(z));
    const float reciprocal = float_of((bits_of(1.0f / (1.0f + t)) + 0x400u) & ~0x7ffu);
    return z >= 0.0f ? z * reciprocal : z * t * reciprocal;
}
WRONG_KERNEL(silu_reciprocal, "wrong-silu-reciprocal", "1 / (1 + t) to 12 bits", ADAMOE_FLOAT32,
             .silu = silu_without_newton);

static float gelu(float z)
{
    return 0.5f * z * (1.0f + erff(z * 0.70710678f));
}
WRONG_KERNEL(gelu_for_silu, "wrong-gelu", "gelu instead of silu", ADAMOE_FLOAT32, .silu = gelu);

static float overflowing_silu(float z)
{
    const float e = expf(z);
    return z * (e / (1.0f + e));
}
WRONG_KERNEL(silu_overflows, "wrong-silu-overflows", "exp(z) / (1 + exp(z)) is NaN from z = 89 on",
             ADAMOE_FLOAT32, .silu = overflowing_silu);

/* Clamps as max and min instructions do, which return their second operand where the first is NaN. */
static void gather_clamped(const kernel_call *c, size_t row, float *input)
{
    honest_gather(c, row, input);
    for (size_t i = 0; i < c->prepared->hidden_size; ++i) {
        input[i] = fminf(fmaxf(input[i], -65504.0f), 65504.0f);
    }
}
WRONG_KERNEL(nan_swallowed, "wrong-nan-swallowed", "a clamp turns NaN into a number", ADAMOE_FLOAT32,
             .gather = gather_clamped);

EXPORT_KERNELS(&tail_column_skipped, &hidden_tail_skipped, &odd_term_skipped, &tail_not_masked,
               &equal_rows_differ, &w1_w3_swapped, &w3_forgotten, &stale_weights, &accumulator_bf16,
               &operands_tf32, &y_bf16, &output_bf16, &silu_coarse, &silu_reciprocal, &gelu_for_silu,
               &silu_overflows, &nan_swallowed);

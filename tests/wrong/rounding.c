/*
 * Wrong kernels whose operands are not rounded as reference/README.md section 4 says: bfloat16 and int8.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------ bfloat16 */

static void truncate(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    for (size_t i = 0; i < count; ++i) {
        x->value[i] = float_of(bits_of(x->value[i]) & 0xffff0000u);
    }
}
WRONG_KERNEL(bf16_truncated, "wrong-bf16-truncated", "the low bits are cut off", ADAMOE_BFLOAT16,
             .round_x = truncate, .round_h = truncate);

static void round_half_away(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    for (size_t i = 0; i < count; ++i) {
        x->value[i] = float_of((bits_of(x->value[i]) + 0x8000u) & 0xffff0000u);
    }
}
WRONG_KERNEL(bf16_half_away, "wrong-bf16-half-away", "an exact half is rounded away from zero",
             ADAMOE_BFLOAT16, .round_x = round_half_away);

static void round_nothing(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    (void)x;
    (void)count;
}
WRONG_KERNEL(h_not_rounded, "wrong-h-not-rounded", "h stays float32, which is not what it declares",
             ADAMOE_BFLOAT16, .round_h = round_nothing);
WRONG_KERNEL(x_not_rounded, "wrong-x-not-rounded", "x stays float32, which is not what it declares",
             ADAMOE_BFLOAT16, .round_x = round_nothing);

static void round_weights_not(adamoe_arithmetic kind, packed_matrix *matrix)
{
    (void)kind;
    for (size_t r = 0; r < matrix->rows; ++r) {
        matrix->scale[r] = 1.0f;
    }
}
WRONG_KERNEL(weights_not_rounded, "wrong-weights-not-rounded",
             "float32 weights stay float32, which is not what it declares", ADAMOE_BFLOAT16,
             .round_matrix = round_weights_not);

/* ---------------------------------------------------------------------------------------------- int8 */

static float largest_of(const float *value, size_t count)
{
    float largest = 0.0f;
    for (size_t i = 0; i < count; ++i) {
        largest = fmaxf(largest, fabsf(value[i]));
    }
    return largest;
}

/* Whole steps of `scale` in place, within what eight bits hold. */
static void to_steps(float *value, size_t count, float scale, float (*round)(float))
{
    for (size_t i = 0; i < count; ++i) {
        const float steps = scale == 0.0f ? 0.0f : round(value[i] / scale);
        value[i] = fmaxf(-127.0f, fminf(127.0f, steps));
    }
}

static void one_scale_for_all(adamoe_arithmetic kind, packed_matrix *matrix)
{
    const size_t count = matrix->rows * matrix->columns;
    (void)kind;
    const float scale = largest_of(matrix->value, count) / 127.0f;
    to_steps(matrix->value, count, scale, rintf);
    for (size_t r = 0; r < matrix->rows; ++r) {
        matrix->scale[r] = scale;
    }
}
WRONG_KERNEL(scale_per_tensor, "wrong-int8-scale-per-tensor", "one scale for a whole matrix", ADAMOE_INT8,
             .round_matrix = one_scale_for_all);

/* The slot of a row's scale is written after it was read: it still holds that of the row before. */
static void round_by_stale_scale(const kernel_call *c, size_t row, operand *x, size_t count)
{
    const size_t d = count, before = row > 0 ? row - 1 : row;
    const size_t input = c->plan == NULL ? before : c->plan->input[before];
    x->scale = largest_of(c->x + input * d, d) / 127.0f;
    to_steps(x->value, count, x->scale, rintf);
}
WRONG_KERNEL(scale_stale, "wrong-int8-scale-stale", "a row of x is rounded with the scale of the row before",
             ADAMOE_INT8, .round_x = round_by_stale_scale);

static void round_by_batch_scale(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)row;
    const size_t inputs = c->plan == NULL ? 1 : c->plan->inputs;
    x->scale = largest_of(c->plan == NULL ? x->value : c->x, inputs * count) / 127.0f;
    to_steps(x->value, count, x->scale, rintf);
}
WRONG_KERNEL(scale_per_batch, "wrong-int8-scale-per-batch", "one scale for all tokens of a batch",
             ADAMOE_INT8, .round_x = round_by_batch_scale);

static void round_to_128(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    x->scale = largest_of(x->value, count) / 128.0f;
    to_steps(x->value, count, x->scale, rintf);
}
WRONG_KERNEL(scale_128, "wrong-int8-scale-128", "the scale is max / 128", ADAMOE_INT8,
             .round_x = round_to_128);

static void round_toward_zero(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    x->scale = largest_of(x->value, count) / 127.0f;
    to_steps(x->value, count, x->scale, truncf);
}
WRONG_KERNEL(int8_truncated, "wrong-int8-truncated", "steps are cut off instead of rounded", ADAMOE_INT8,
             .round_x = round_toward_zero, .round_h = round_toward_zero);

static void round_steps_away(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    x->scale = largest_of(x->value, count) / 127.0f;
    to_steps(x->value, count, x->scale, roundf);
}
WRONG_KERNEL(int8_half_away, "wrong-int8-half-away", "an exact half is rounded away from zero", ADAMOE_INT8,
             .round_x = round_steps_away);

/* A subnormal scale lifts the quotient past 127; eight bits hold 128 as -128. */
static void round_without_clamp(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)c;
    (void)row;
    x->scale = largest_of(x->value, count) / 127.0f;
    for (size_t i = 0; i < count; ++i) {
        const float steps = x->scale == 0.0f ? 0.0f : rintf(x->value[i] / x->scale);
        x->value[i] = (float)(int8_t)(uint8_t)(int32_t)steps;
    }
}
WRONG_KERNEL(int8_not_clamped, "wrong-int8-not-clamped", "steps beyond 127 wrap", ADAMOE_INT8,
             .round_x = round_without_clamp);

/* A division by the scale of a row of zeros. */
static void round_zero_row(const kernel_call *c, size_t row, operand *x, size_t count)
{
    honest_round(c, row, x, count);
    if (x->scale == 0.0f) {
        x->scale = NAN;
    }
}
WRONG_KERNEL(int8_zero_row, "wrong-int8-zero-row", "a row of zeros gives 0 / 0", ADAMOE_INT8,
             .round_x = round_zero_row, .round_h = round_zero_row);

static int32_t saturate(int32_t sum)
{
    return sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum;
}

/* The instruction without VNNI: x as unsigned steps, the products of neighbours added in 16 bits. */
static float dot_in_16_bits(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                            const operand *x)
{
    const float *weight = matrix->value + r * matrix->columns;
    (void)c;
    (void)row;
    int32_t sum = 0;
    for (size_t i = 0; i < matrix->columns; i += 2) {
        int32_t pair = 0;
        for (size_t j = i; j < i + 2 && j < matrix->columns; ++j) {
            pair += (int32_t)weight[j] * ((int32_t)x->value[j] + 128);
            sum -= (int32_t)weight[j] * 128;
        }
        sum += saturate(pair);
    }
    return (float)sum * x->scale * matrix->scale[r];
}
WRONG_KERNEL(int8_saturates, "wrong-int8-saturates", "two products are added in 16 bits", ADAMOE_INT8,
             .dot = dot_in_16_bits);

EXPORT_KERNELS(&bf16_truncated, &bf16_half_away, &h_not_rounded, &x_not_rounded, &weights_not_rounded,
               &scale_per_tensor, &scale_stale, &scale_per_batch, &scale_128, &int8_truncated,
               &int8_half_away, &int8_not_clamped, &int8_zero_row, &int8_saturates);

/*
 * Wrong kernels that declare more than operands to be rounded to bfloat16 (up, down, y), and do otherwise.
 */
#include "honest/honest.h"

#include <string.h>

static float truncated(float value)
{
    return float_of(bits_of(value) & 0xffff0000u);
}

static float half_away(float value)
{
    return float_of((bits_of(value) + 0x8000u) & 0xffff0000u);
}

static float as_it_is(float value)
{
    return value;
}

/* One part in two thousand too large: an eighth of what rounding to bfloat16 may do. */
static float too_large(float value)
{
    return round_to_bfloat16(value * (1.0f + 0x1p-11f));
}

/* ---------------------------------------------------------------------------------------------------- y */

static void combine(const kernel_call *c, size_t token, float (*of_sum)(float), float (*of_y)(float))
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size;
    float *y = c->y + token * d;
    memset(y, 0, d * sizeof *y);
    for (size_t place = plan->token_offset[token]; place < plan->token_offset[token + 1]; ++place) {
        const float *output = c->outputs + plan->token_row[place] * d;
        for (size_t i = 0; i < d; ++i) {
            y[i] = of_sum(y[i] + plan->combine[place] * output[i]);
        }
    }
    for (size_t i = 0; i < d; ++i) {
        y[i] += plan->self_scale == NULL ? 0.0f : plan->self_scale[token] * c->x[token * d + i];
        y[i] = of_y(y[i]);
    }
}

#define WRONG_Y(symbol, title, text, of_sum, of_y)                                                           \
    static void combine_##symbol(const kernel_call *c, size_t token)                                         \
    {                                                                                                        \
        combine(c, token, of_sum, of_y);                                                                     \
    }                                                                                                        \
    KERNEL_OF_PIECES(symbol, title, text, ADAMOE_BFLOAT16, (.y = ADAMOE_BFLOAT16),                           \
                     .combine = combine_##symbol)

WRONG_Y(y_truncated, "wrong-y-truncated", "the low bits of y are cut off", as_it_is, truncated);
WRONG_Y(y_half_away, "wrong-y-half-away", "an exact half of y is rounded away from zero", as_it_is,
        half_away);
WRONG_Y(y_not_rounded, "wrong-y-not-rounded", "y stays float32, which is not what it declares", as_it_is,
        as_it_is);
WRONG_Y(y_too_large, "wrong-y-too-large", "y is too large by an eighth of its rounding", as_it_is, too_large);
WRONG_Y(sum_in_bf16, "wrong-sum-in-bf16", "y is rounded after each expert, as tensors of bfloat16 are",
        round_to_bfloat16, round_to_bfloat16);

/* ------------------------------------------------------------------------------------------ up and down */

static void up_of_one(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                      float *h, float (*of_gate)(float), float (*of_silu)(float))
{
    for (size_t i = 0; i < expert->w1.rows; ++i) {
        const float gate = of_gate(c->pieces->dot(c, row, &expert->w1, i, x));
        h[i] = of_silu(c->pieces->silu(gate)) * round_to_bfloat16(c->pieces->dot(c, row, &expert->w3, i, x));
    }
}

static void up_gate_as_it_is(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                             float *h)
{
    up_of_one(c, row, expert, x, h, as_it_is, as_it_is);
}

static void up_silu_rounded(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                            float *h)
{
    up_of_one(c, row, expert, x, h, round_to_bfloat16, round_to_bfloat16);
}

static void down_truncated(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                           float *output)
{
    for (size_t i = 0; i < expert->w2.rows; ++i) {
        output[i] = truncated(c->pieces->dot(c, row, &expert->w2, i, h));
    }
}

KERNEL_OF_PIECES(gate_not_rounded, "wrong-gate-not-rounded", "of w1 x and w3 x the first stays float32",
                 ADAMOE_FLOAT32, (.up = ADAMOE_BFLOAT16), .up = up_gate_as_it_is);
KERNEL_OF_PIECES(silu_rounded, "wrong-silu-rounded", "silu is rounded to bfloat16, which it does not declare",
                 ADAMOE_FLOAT32, (.up = ADAMOE_BFLOAT16), .up = up_silu_rounded);
KERNEL_OF_PIECES(outputs_truncated, "wrong-outputs-truncated", "the low bits of an output are cut off",
                 ADAMOE_FLOAT32, (.down = ADAMOE_BFLOAT16), .down = down_truncated);

EXPORT_KERNELS(&y_truncated, &y_half_away, &y_not_rounded, &y_too_large, &sum_in_bf16, &gate_not_rounded,
               &silu_rounded, &outputs_truncated);

/*
 * Honest kernels that round what they compute on the way to bfloat16, as engines do whose tensors are bfloat16 from layer
 * to layer: the results of w1 and w3, the output of a row, y before an identity expert is added, after it, or both.
 */
#include "honest/honest.h"

static void up_rounded(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                       float *h)
{
    for (size_t i = 0; i < expert->w1.rows; ++i) {
        const float gate = round_to_bfloat16(c->pieces->dot(c, row, &expert->w1, i, x));
        h[i] = c->pieces->silu(gate) * round_to_bfloat16(c->pieces->dot(c, row, &expert->w3, i, x));
    }
}

static void down_rounded(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                         float *output)
{
    for (size_t i = 0; i < expert->w2.rows; ++i) {
        output[i] = round_to_bfloat16(c->pieces->dot(c, row, &expert->w2, i, h));
    }
}

static void combine(const kernel_call *c, size_t token, bool before, bool after)
{
    const size_t d = c->prepared->hidden_size;
    float *y = c->y + token * d;
    adamoe_plan routed = *c->plan;
    kernel_call call = *c;
    routed.self_scale = NULL;
    call.plan = &routed;
    honest_combine(&call, token);
    for (size_t i = 0; i < d; ++i) {
        y[i] = before ? round_to_bfloat16(y[i]) : y[i];
        y[i] += c->plan->self_scale == NULL ? 0.0f : c->plan->self_scale[token] * c->x[token * d + i];
        y[i] = after ? round_to_bfloat16(y[i]) : y[i];
    }
}

static void combine_before(const kernel_call *c, size_t token)
{
    combine(c, token, true, false);
}

static void combine_after(const kernel_call *c, size_t token)
{
    combine(c, token, false, true);
}

static void combine_both(const kernel_call *c, size_t token)
{
    combine(c, token, true, true);
}

KERNEL_OF_PIECES(y_before, "honest-y-before", "y rounded before an identity expert is added", ADAMOE_BFLOAT16,
                 (.y = ADAMOE_BFLOAT16), .combine = combine_before);
KERNEL_OF_PIECES(y_after, "honest-y-after", "y rounded after it", ADAMOE_BFLOAT16, (.y = ADAMOE_BFLOAT16),
                 .combine = combine_after);
KERNEL_OF_PIECES(y_float32, "honest-y-f32", "operands as they are, y rounded", ADAMOE_FLOAT32,
                 (.y = ADAMOE_BFLOAT16), .combine = combine_after);
KERNEL_OF_PIECES(y_int8, "honest-y-int8", "operands in int8, y rounded", ADAMOE_INT8, (.y = ADAMOE_BFLOAT16),
                 .combine = combine_before);
KERNEL_OF_PIECES(all, "honest-results", "everything rounded", ADAMOE_BFLOAT16,
                 (.up = ADAMOE_BFLOAT16, .down = ADAMOE_BFLOAT16, .y = ADAMOE_BFLOAT16),
                 .combine = combine_both, .up = up_rounded, .down = down_rounded);
KERNEL_OF_PIECES(all_float32, "honest-results-f32", "everything but operands rounded", ADAMOE_FLOAT32,
                 (.up = ADAMOE_BFLOAT16, .down = ADAMOE_BFLOAT16, .y = ADAMOE_BFLOAT16),
                 .combine = combine_both, .up = up_rounded, .down = down_rounded);

EXPORT_KERNELS(&y_before, &y_after, &y_float32, &y_int8, &all, &all_float32);

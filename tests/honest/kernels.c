/*
 * The honest twins: the kernel of which the wrong ones are made, in each of its three arithmetics, with
 * nothing replaced. They must pass.
 */
#include "honest/honest_backward.h"
#include "honest/honest_route.h"

static adamoe_status backward(const adamoe_run *run, const adamoe_backward_call *call)
{
    static const backward_pieces nothing_replaced = {.run = NULL};
    return run_backward_pieces(&nothing_replaced, run, call);
}

#define ALL_OF_A_MODEL                                                                                       \
    (.route = honest_route, .attention_work_bytes = honest_attention_work, .attention = honest_attention,    \
     .backward_work_bytes = backward_pieces_bytes, .backward = backward)

KERNEL_OF_PIECES(float32, "honest-f32", "the pieces of the wrong kernels, all honest", ADAMOE_FLOAT32,
                 ALL_OF_A_MODEL, .run = honest_run);
KERNEL_OF_PIECES(bfloat16, "honest-bf16", "the same with bfloat16 operands", ADAMOE_BFLOAT16, ALL_OF_A_MODEL,
                 .run = honest_run);
KERNEL_OF_PIECES(int8, "honest-int8", "the same with int8 operands", ADAMOE_INT8, ALL_OF_A_MODEL,
                 .run = honest_run);

EXPORT_KERNELS(&float32, &bfloat16, &int8);

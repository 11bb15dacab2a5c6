/*
 * One call of a kernel as `adamoe check` makes it: nothing is better than the contract promises, and
 * everything that the contract forbids is seen.
 *
 * Inputs are read-only copies between inaccessible pages; the output is filled with NaN, the workspace is
 * exactly as long as the kernel asked and filled with NaN too; memory that the kernel takes from its host is
 * guarded, and must be given back; structures that prepare is given are closed when it has returned; seconds of the
 * stages are asked for in every other call; the processor's modes are compared after each function and each task.
 */
#ifndef ADAMOE_CHECK_CALL_CALL_H
#define ADAMOE_CHECK_CALL_CALL_H

#include "check/call/manner.h"

/* x is [plan->inputs, hidden_size]; y [plan->tokens, hidden_size] receives what the kernel wrote. Where
 * `before` is given, the prepared weights compute that plan first, with before_x: nothing of it may show.
 * Errors: memory. */
typedef struct adamoe_experts_call {
    const adamoe_layer *layer;
    const adamoe_plan *plan;
    const float *x;
    const adamoe_plan *before;
    const float *before_x;
} adamoe_experts_call;

adamoe_status adamoe_call_experts(const adamoe_call_manner *manner, const adamoe_experts_call *call, float *y,
                                  adamoe_call_outcome *out);

/* kernel->backward: x and dy are [tokens, hidden_size], the layer's weights are float32, of at most
 * ADAMOE_MOST_GRADIENT_EXPERTS experts. */
typedef struct adamoe_gradient_call {
    const adamoe_layer *layer;
    const adamoe_plan *plan;
    const float *x, *dy;
} adamoe_gradient_call;

/* What it writes, tensor by tensor in one block of memory. */
typedef enum adamoe_gradient_tensor {
    ADAMOE_GRADIENT_X = 0,
    ADAMOE_GRADIENT_COMBINE = 1,
    ADAMOE_GRADIENT_SELF_SCALE = 2,
    ADAMOE_GRADIENT_W1 = 3, /* of all experts, one after the other, as are the next two */
    ADAMOE_GRADIENT_W3 = 4,
    ADAMOE_GRADIENT_W2 = 5,
} adamoe_gradient_tensor;

#define ADAMOE_GRADIENT_TENSORS 6

typedef struct adamoe_gradient_output {
    float *tensor[ADAMOE_GRADIENT_TENSORS]; /* the first is the block */
    size_t count[ADAMOE_GRADIENT_TENSORS];
    size_t width[ADAMOE_GRADIENT_TENSORS]; /* of a row of it */
} adamoe_gradient_output;

/* Errors: memory. */
adamoe_status adamoe_gradient_output_create(const adamoe_layer *layer, const adamoe_plan *plan,
                                            adamoe_gradient_output *out);
void adamoe_gradient_output_free(adamoe_gradient_output *output);

adamoe_status adamoe_call_backward(const adamoe_call_manner *manner, const adamoe_gradient_call *call,
                                   const adamoe_gradient_output *output, adamoe_call_outcome *out);

/* x is [count, columns], y [count, rows]. */
adamoe_status adamoe_call_multiply(const adamoe_call_manner *manner, const adamoe_matrix *matrix,
                                   const float *x, size_t count, float *y, adamoe_call_outcome *out);

/* kernel->prepare of `layer`, or prepare_matrix of `matrix` where that is NULL, as often as it takes allocations of
 * its host, with another one refused each time: it must report ADAMOE_ENVIRONMENT and give everything back, or do
 * without. Errors: memory. */
adamoe_status adamoe_call_refused(const adamoe_call_manner *manner, const adamoe_layer *layer,
                                  const adamoe_matrix *matrix, adamoe_call_outcome *out);

/* kernel->route, on a routing of its own that is filled with 0xff and has guarded arrays: reads `logits`, and
 * writes the other arrays of *out_routing, whose sizes and rule are set. */
adamoe_status adamoe_call_route(const adamoe_call_manner *manner, const float *logits,
                                adamoe_routing *out_routing, adamoe_call_outcome *out);

/* kernel->attention with guarded copies of spans, query, key and value; fills call->mixed. `queries` and
 * `keys` are the numbers of rows. */
adamoe_status adamoe_call_attention(const adamoe_call_manner *manner, const adamoe_attention_call *call,
                                    size_t queries, size_t keys, adamoe_call_outcome *out);

#endif

/*
 * The gradient of attention over whole sequences, between its projections: from the derivative of the mixed
 * values to those of rotated queries and keys, and of values. The shares are computed again. A task is one
 * key-value head of one sequence, with all query heads that use it, so that the gradients of keys and values
 * are summed by one thread in one order.
 */
#ifndef ADAMOE_TRAIN_ATTENTION_BACKWARD_H
#define ADAMOE_TRAIN_ATTENTION_BACKWARD_H

#include "train/train_ops.h"
#include "vector/vector_ops.h"

#include "adamoe.h"

typedef struct adamoe_attention_backward_call {
    const adamoe_vector_ops *ops;
    const adamoe_train_ops *train_ops;
    size_t heads, key_value_heads, head_dim;
    size_t window;                    /* 0: every earlier key is seen */
    size_t sequences;                 /* one after the other */
    const size_t *offset;             /* [sequences + 1] */
    size_t longest;                   /* of them, in tokens */
    const size_t *number;             /* [tokens] 0, 1, 2, ... */
    float *shares;                    /* [threads, 2, longest] workspace */
    const float *query, *key, *value; /* rotated, as adamoe_attention_call has them */
    const float *dmixed;              /* [tokens, heads, head_dim] */
    float *dquery, *dkey, *dvalue;    /* written */
} adamoe_attention_backward_call;

void adamoe_attention_heads_backward(const adamoe_team *team, const adamoe_attention_backward_call *call);

#endif

/*
 * Through RMSNorm backward, row by row, and the gradient of its gain.
 */
#ifndef ADAMOE_TRAIN_NORM_BACKWARD_H
#define ADAMOE_TRAIN_NORM_BACKWARD_H

#include "model/rows.h"
#include "train/train_ops.h"

/* normed[i] = RMSNorm(x[list[i]]), or of x[i] where the list is NULL, for i < rows. */
typedef struct adamoe_norm_backward_call {
    const adamoe_row_norm *norm;
    const adamoe_train_ops *train_ops;
    const float *x; /* [tokens, hidden_size] */
    const uint32_t *list;
    size_t rows;
    const float *dnormed; /* [rows, hidden_size] */
    float *dx;            /* [tokens, hidden_size]: dx[list[i]] += */
    float *dgain;       /* [hidden_size] written, or NULL: the sum over rows of dnormed x / rms, ascending */
    float *inverse_rms; /* [rows] workspace of dgain; otherwise NULL */
} adamoe_norm_backward_call;

void adamoe_norm_backward(const adamoe_team *team, const adamoe_norm_backward_call *call);

#endif

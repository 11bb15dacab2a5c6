/*
 * The derivatives of RMSNorm: rows are shared out for those of x, columns for those of the gain.
 */
#include "train/norm_backward.h"

/* Columns of one task where the gradient of the gain is summed over all rows. */
#define COLUMNS_PER_TASK 32

typedef adamoe_norm_backward_call norm_call;

static size_t listed(const norm_call *call, size_t i)
{
    return call->list == NULL ? i : call->list[i];
}

static void backward_row(const void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const norm_call *call = context;
    const adamoe_row_norm *norm = call->norm;
    const size_t d = norm->hidden_size, at = listed(call, i) * d;
    const float inverse_rms = call->train_ops->rms_norm_backward(call->x + at, norm->gain, norm->eps,
                                                                 call->dnormed + i * d, d, call->dx + at);
    if (call->inverse_rms != NULL) {
        call->inverse_rms[i] = inverse_rms;
    }
}

/* Some columns of dgain. */
static void gain_task(void *context, size_t task, uint32_t thread)
{
    (void)thread;
    const norm_call *call = *(const norm_call *const *)context;
    const size_t d = call->norm->hidden_size, first = task * COLUMNS_PER_TASK, left = d - first;
    const size_t count = left < COLUMNS_PER_TASK ? left : COLUMNS_PER_TASK;
    for (size_t c = 0; c < count; ++c) {
        call->dgain[first + c] = 0.0f;
    }
    for (size_t i = 0; i < call->rows; ++i) {
        call->train_ops->add_product(call->dgain + first, call->inverse_rms[i],
                                     call->x + listed(call, i) * d + first, call->dnormed + i * d + first,
                                     count);
    }
}

void adamoe_norm_backward(const adamoe_team *team, const adamoe_norm_backward_call *call)
{
    adamoe_each_row(team, call->rows, backward_row, call);
    if (call->dgain != NULL) {
        const size_t tasks = (call->norm->hidden_size + COLUMNS_PER_TASK - 1) / COLUMNS_PER_TASK;
        team->run(team->state, tasks, gain_task, &call);
    }
}

/*
 * Calling and judging a gradient, tensor by tensor: see judge.h.
 */
#include "check/tiers/gradient/judge.h"
#include "check/tiers/empty_sums.h"
#include "bound/judge.h"

#include <math.h>
#include <string.h>

const char *const adamoe_gradient_tensor_names[ADAMOE_GRADIENT_TENSORS] = {"dx",  "dcombine", "dself_scale",
                                                                           "dw1", "dw3",      "dw2"};

void adamoe_check_gradient_place(const adamoe_checking *k, size_t tensor)
{
    const adamoe_case *c = k->c;
    const char *name = adamoe_gradient_tensor_names[tensor];
    char detail[sizeof k->out->detail];
    memcpy(detail, k->out->detail, sizeof detail);
    if (tensor < ADAMOE_GRADIENT_W1) {
        adamoe_check_settle(k, k->out->status, "%s: %.250s", name, detail);
        return;
    }
    const size_t rows = tensor == ADAMOE_GRADIENT_W2 ? c->hidden_size : c->intermediate_size;
    const size_t expert = k->out->row / rows;
    k->out->row %= rows;
    adamoe_check_settle(k, k->out->status, "%s of expert %zu: %.250s", name, expert, detail);
}

/* False where it fails. */
static bool judge_tensors(const adamoe_checking *k, const adamoe_yardstick *const *yardstick,
                          const adamoe_gradient_output *got)
{
    size_t judged = 0, vacuous = 0;
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        if (got->count[i] == 0) {
            continue;
        }
        const double ratio = adamoe_judge(yardstick[i], got->tensor[i], 1.0).largest_ratio;
        k->out->tensor_ratio[i] = fmax(k->out->tensor_ratio[i], ratio);
        k->out->status = ADAMOE_CHECK_PASSED;
        if (!adamoe_check_judge(k, yardstick[i], got->tensor[i], got->width[i], 1.0)) {
            adamoe_check_gradient_place(k, i);
            return false;
        }
        ++judged;
        vacuous += k->out->status == ADAMOE_CHECK_VACUOUS;
    }
    if (vacuous == judged) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "every expected derivative is 0");
    } else {
        adamoe_check_settle(k, ADAMOE_CHECK_PASSED, "%s", "");
    }
    return true;
}

/* What no row adds to is +0. */
static bool empty_sums_are_zero(const adamoe_checking *k, const adamoe_plan *plan,
                                const adamoe_gradient_output *got)
{
    bool zero = adamoe_check_empty_tokens(k, plan, got->tensor[ADAMOE_GRADIENT_X],
                                          got->width[ADAMOE_GRADIENT_X], "that of a token without experts");
    if (!zero) {
        adamoe_check_gradient_place(k, ADAMOE_GRADIENT_X);
    }
    for (size_t i = ADAMOE_GRADIENT_W1; i <= ADAMOE_GRADIENT_W2 && zero; ++i) {
        const size_t rows = got->count[i] / (got->width[i] * plan->experts);
        zero = adamoe_check_empty_experts(k, plan, got->tensor[i], rows, got->width[i],
                                          "an expert has no rows: it");
        if (!zero) {
            adamoe_check_gradient_place(k, i);
        }
    }
    return zero;
}

bool adamoe_check_gradient_result(const adamoe_checking *k, const adamoe_plan *plan,
                                  const adamoe_yardstick *const *yardstick, const adamoe_gradient_output *got)
{
    return judge_tensors(k, yardstick, got) && empty_sums_are_zero(k, plan, got);
}

bool adamoe_check_gradient_same_bits(const adamoe_checking *k, const adamoe_gradient_output *got,
                                     const adamoe_gradient_output *expected, const char *what)
{
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        if (!adamoe_check_same_bits(k, got->tensor[i], expected->tensor[i], got->count[i], got->width[i],
                                    what)) {
            adamoe_check_gradient_place(k, i);
            return false;
        }
    }
    return true;
}

static adamoe_status call_and_judge(const adamoe_checking *k, const adamoe_gradient_call *call,
                                    const adamoe_yardstick *const *yardstick,
                                    const adamoe_gradient_output *got)
{
    static const adamoe_guard_end ends[] = {ADAMOE_GUARD_BACK, ADAMOE_GUARD_FRONT};
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_backward(&manner, call, got, &outcome));
        if (!adamoe_check_called(k, &outcome) ||
            !adamoe_check_gradient_result(k, call->plan, yardstick, got)) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_gradient_judged(const adamoe_checking *k, const adamoe_gradient_call *call,
                                           const adamoe_yardstick *const *yardstick)
{
    adamoe_gradient_output got;
    ADAMOE_TRY(adamoe_gradient_output_create(call->layer, call->plan, &got));
    const adamoe_status status = call_and_judge(k, call, yardstick, &got);
    adamoe_gradient_output_free(&got);
    return status;
}

/*
 * Gradients: the tier `bound`. Random weights, inputs and derivatives of the output, each tensor by the bound of
 * reference/gradient/gradient_bound.h.
 */
#include "check/tiers/data.h"
#include "check/tiers/gradient/judge.h"
#include "check/tiers/gradient/tiers.h"
#include "gradient/gradient_bound.h"

static adamoe_status judge_data(const adamoe_checking *k, const adamoe_case_data *data)
{
    const adamoe_gradient_call call = {&data->layer.layer, data->plan, data->x, data->dy};
    adamoe_gradient_yardstick y;
    ADAMOE_TRY(adamoe_gradient_yardstick_create(call.layer, call.x, call.plan, call.dy,
                                                (double)k->kernel->silu_error, &y));
    const adamoe_yardstick *const yardstick[] = {&y.dx, &y.dcombine, &y.dself, &y.w1, &y.w3, &y.w2};
    const adamoe_status status = adamoe_check_gradient_judged(k, &call, yardstick);
    adamoe_gradient_yardstick_free(&y);
    return status;
}

adamoe_status adamoe_check_gradient_bound(const adamoe_checking *k)
{
    adamoe_case_data data;
    ADAMOE_TRY(adamoe_gradient_data_create(k->c, k->seed, &data));
    const adamoe_status status = judge_data(k, &data);
    adamoe_case_data_free(&data);
    return status;
}

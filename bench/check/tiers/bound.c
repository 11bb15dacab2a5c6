/*
 * The tier `bound` for experts and dense products, at both ends of every buffer in turn; and what the
 * contract asks of every dense product: equal rows of a matrix give bit-equal columns.
 */
#include "check/tiers/data.h"
#include "check/tiers/empty_sums.h"
#include "check/tiers/tiers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const adamoe_guard_end ends[] = {ADAMOE_GUARD_BACK, ADAMOE_GUARD_FRONT};

static adamoe_status judge_experts(const adamoe_checking *k, const void *subject, adamoe_yardstick *yardstick,
                                   float *y)
{
    const adamoe_experts_call *call = subject;
    const size_t d = k->c->hidden_size;
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_experts(&manner, call, y, &outcome));
        if (!adamoe_check_called(k, &outcome)) {
            return adamoe_ok();
        }
        if (i == 0) {
            ADAMOE_TRY(adamoe_layer_yardstick(call->layer, adamoe_kernel_arithmetic(k->kernel), call->x,
                                              call->plan, yardstick));
        }
        if (!adamoe_check_judge(k, yardstick, y, d, 1.0) ||
            !adamoe_check_empty_tokens(k, call->plan, y, d, "y of a token without experts")) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

/* Row r >= distinct of the matrix equals row r - distinct. */
static bool equal_rows_agree(const adamoe_checking *k, const adamoe_case_data *data, const float *y)
{
    const size_t width = k->c->rows;
    for (size_t at = 0; at < k->c->tokens * width; ++at) {
        const size_t r = at % width;
        const float *twin = &y[at - (r >= data->distinct ? data->distinct : 0)];
        if (memcmp(&y[at], twin, sizeof *y) != 0) {
            *k->out = (adamoe_check_result){.tier = ADAMOE_TIER_BITWISE,
                                            .has_element = true,
                                            .row = at / width,
                                            .column = r,
                                            .got = (double)y[at],
                                            .expected = (double)*twin,
                                            .largest_ratio = HUGE_VAL};
            adamoe_check_settle(k, ADAMOE_CHECK_FAILED,
                                "rows %zu and %zu of the matrix are equal, what they gave is not",
                                r - data->distinct, r);
            return false;
        }
    }
    return true;
}

static adamoe_status judge_multiply(const adamoe_checking *k, const void *subject,
                                    adamoe_yardstick *yardstick, float *y)
{
    const adamoe_case_data *data = subject;
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_multiply(&manner, &data->matrix, data->x, k->c->tokens, y, &outcome));
        if (!adamoe_check_called(k, &outcome)) {
            return adamoe_ok();
        }
        if (i == 0) {
            ADAMOE_TRY(adamoe_matrix_yardstick(&data->matrix, adamoe_kernel_arithmetic(k->kernel), data->x,
                                               k->c->tokens, yardstick));
        }
        if (!adamoe_check_judge(k, yardstick, y, k->c->rows, 1.0) || !equal_rows_agree(k, data, y)) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

typedef adamoe_status judge_subject(const adamoe_checking *k, const void *subject,
                                    adamoe_yardstick *yardstick, float *y);

/* With an output of `count` elements. */
static adamoe_status judge(const adamoe_checking *k, size_t count, judge_subject *run, const void *subject)
{
    adamoe_yardstick yardstick = {0};
    float *y = NULL;
    adamoe_status status = adamoe_check_floats(count, &y);
    if (status.code == ADAMOE_OK) {
        status = adamoe_yardstick_create(count, &yardstick);
    }
    if (status.code == ADAMOE_OK) {
        status = run(k, subject, &yardstick, y);
    }
    adamoe_yardstick_free(&yardstick);
    free(y);
    return status;
}

adamoe_status adamoe_check_call_bound(const adamoe_checking *k, const adamoe_experts_call *call)
{
    return judge(k, k->c->tokens * k->c->hidden_size, judge_experts, call);
}

/* Equal terms are rounded alike: their errors are no random walk, which the bound takes them for. */
static bool values_fit(const adamoe_checking *k)
{
    const bool fit = k->c->magnitude != ADAMOE_MAGNITUDE_FULL || k->kernel->accumulate == ADAMOE_INT32;
    if (!fit) {
        adamoe_check_settle(k, ADAMOE_CHECK_SKIPPED, "the values are made for sums of int8");
    }
    return fit;
}

adamoe_status adamoe_check_experts_bound(const adamoe_checking *k)
{
    if (!values_fit(k)) {
        return adamoe_ok();
    }
    if (k->c->magnitude == ADAMOE_MAGNITUDE_DENORMAL && k->kernel->accumulate == ADAMOE_INT32) {
        /* Whether the sum or the scale of the weights is multiplied first decides between a denormal and 0. */
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "the product of two int8 scales underflows");
        return adamoe_ok();
    }
    adamoe_case_data data;
    ADAMOE_TRY(adamoe_experts_data_create(k->c, k->seed, &data));
    const adamoe_experts_call call = {.layer = &data.layer.layer, .plan = data.plan, .x = data.x};
    const adamoe_status status = adamoe_check_call_bound(k, &call);
    adamoe_case_data_free(&data);
    return status;
}

adamoe_status adamoe_check_multiply_bound(const adamoe_checking *k)
{
    if (!values_fit(k)) {
        return adamoe_ok();
    }
    adamoe_case_data data;
    ADAMOE_TRY(adamoe_multiply_data_create(k->c, k->seed, &data));
    const adamoe_status status = judge(k, k->c->tokens * k->c->rows, judge_multiply, &data);
    adamoe_case_data_free(&data);
    return status;
}

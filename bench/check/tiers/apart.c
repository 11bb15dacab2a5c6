/*
 * The promise of adamoe_kernel.combine: see apart.h. The rows are computed as tokens of their own, in a guarded call; then
 * combine adds them up, its tasks in turn and backwards, into an array of NaN.
 */
#include "check/tiers/apart.h"
#include "check/tiers/again.h"
#include "plan.h"

#include <math.h>
#include <stdlib.h>

/* A plan like `plan`, but each row is a token with the weight 1. What it points to is in *memory. */
static adamoe_status take_apart(const adamoe_plan *plan, adamoe_plan *out, uint32_t **memory)
{
    const size_t rows = plan->rows;
    uint32_t *identity = *memory = calloc(2 * rows + 1, sizeof *identity);
    if (identity == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    float *combine = (float *)(void *)(identity + rows + 1);
    for (size_t r = 0; r <= rows; ++r) {
        identity[r] = (uint32_t)r;
    }
    for (size_t r = 0; r < rows; ++r) {
        combine[r] = 1.0f;
    }
    *out = *plan;
    out->tokens = rows;
    out->token_offset = out->token_row = identity;
    out->combine = combine;
    out->self_scale = NULL;
    return adamoe_ok();
}

static void run_backwards(void *state, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                          void *context)
{
    (void)state;
    while (tasks-- > 0) {
        task(context, tasks, 0);
    }
}

/* The sign of a zero is free. */
static void drop_signs_of_zeros(float *values, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        values[i] = values[i] == 0.0f ? 0.0f : values[i];
    }
}

/* y and the copy of what is expected are [tokens, hidden_size]. */
static adamoe_status add_up(const adamoe_checking *k, const adamoe_case_data *data, const float *outputs,
                            float *y, float *copy)
{
    const size_t d = k->c->hidden_size, count = data->plan->tokens * d;
    const adamoe_team team = {.threads = 1, .run = run_backwards};
    const adamoe_run run = {.team = &team};
    for (size_t i = 0; i < count; ++i) {
        y[i] = NAN;
    }
    const adamoe_status status = k->kernel->combine(&run, d, data->x, outputs, data->plan, y);
    if (status.code != ADAMOE_OK) {
        adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "combine: %s", status.message);
        return adamoe_ok();
    }
    drop_signs_of_zeros(y, count);
    drop_signs_of_zeros(copy, count);
    (void)adamoe_check_same_bits(k, y, copy, count, d, "rows apart that combine adds up, and experts");
    return adamoe_ok();
}

static adamoe_status compute_apart(const adamoe_checking *k, const adamoe_case_data *data,
                                   const adamoe_plan *apart, float *outputs, bool *done)
{
    const adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_BACK);
    const adamoe_experts_call call = {.layer = &data->layer.layer, .plan = apart, .x = data->x};
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_experts(&manner, &call, outputs, &outcome));
    *done = adamoe_check_called(k, &outcome);
    return adamoe_ok();
}

adamoe_status adamoe_check_apart(const adamoe_checking *k, const adamoe_case_data *data,
                                 const float *expected)
{
    const size_t d = k->c->hidden_size, count = data->plan->tokens * d;
    adamoe_plan apart;
    uint32_t *memory = NULL;
    float *outputs = NULL, *y = NULL, *copy = NULL;
    bool done = false;
    if (k->kernel->combine == NULL) {
        return adamoe_ok();
    }
    adamoe_status status = take_apart(data->plan, &apart, &memory);
    status = status.code != ADAMOE_OK ? status : adamoe_check_floats(data->plan->rows * d, &outputs);
    status = status.code != ADAMOE_OK ? status : adamoe_check_floats(count, &y);
    status = status.code != ADAMOE_OK ? status : adamoe_check_floats(count, &copy);
    status = status.code != ADAMOE_OK ? status : compute_apart(k, data, &apart, outputs, &done);
    for (size_t i = 0; i < count && copy != NULL; ++i) {
        copy[i] = expected[i];
    }
    if (status.code == ADAMOE_OK && done) {
        status = add_up(k, data, outputs, y, copy);
    }
    free(memory);
    free(outputs);
    free(y);
    free(copy);
    return status;
}

/*
 * What a router gives: arrays by name, and the plan.
 */
#include "plan.h"
#include "routers/parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- arrays */

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
}

static adamoe_status begin_array(adamoe_routed *out, const char *name, size_t rows, size_t columns,
                                 adamoe_routed_array **array)
{
    size_t elements;
    if (out->arrays == ADAMOE_ROUTED_ARRAYS || __builtin_mul_overflow(rows, columns, &elements) ||
        elements >= SIZE_MAX / sizeof(double)) {
        return no_memory();
    }
    *array = &out->array[out->arrays++];
    **array = (adamoe_routed_array){.rows = rows, .columns = columns};
    (void)snprintf((*array)->name, sizeof(*array)->name, "%s", name == NULL ? "" : name);
    return adamoe_ok();
}

adamoe_status adamoe_routed_numbers(adamoe_routed *out, const char *name, size_t rows, size_t columns,
                                    double **data)
{
    adamoe_routed_array *array = NULL;
    ADAMOE_TRY(begin_array(out, name, rows, columns, &array));
    *data = array->number = calloc(rows * columns + 1, sizeof **data); /* + 1: calloc(0) may give NULL */
    return *data != NULL ? adamoe_ok() : no_memory();
}

adamoe_status adamoe_routed_integers(adamoe_routed *out, const char *name, size_t rows, size_t columns,
                                     int64_t **data)
{
    adamoe_routed_array *array = NULL;
    ADAMOE_TRY(begin_array(out, name, rows, columns, &array));
    *data = array->integer = calloc(rows * columns + 1, sizeof **data);
    return *data != NULL ? adamoe_ok() : no_memory();
}

adamoe_status adamoe_routed_number(adamoe_routed *out, const char *name, double value)
{
    double *data;
    ADAMOE_TRY(adamoe_routed_numbers(out, name, 1, 1, &data));
    data[0] = value;
    return adamoe_ok();
}

adamoe_status adamoe_routed_integer(adamoe_routed *out, const char *name, size_t value)
{
    int64_t *data;
    ADAMOE_TRY(adamoe_routed_integers(out, name, 1, 1, &data));
    data[0] = (int64_t)value;
    return adamoe_ok();
}

const adamoe_routed_array *adamoe_routed_find(const adamoe_routed *routed, const char *name)
{
    for (size_t i = 0; i < routed->arrays; ++i) {
        if (strcmp(routed->array[i].name, name) == 0) {
            return &routed->array[i];
        }
    }
    return NULL;
}

const double *adamoe_routed_numbers_of(const adamoe_routed *routed, const char *name)
{
    const adamoe_routed_array *array = adamoe_routed_find(routed, name);
    return array == NULL ? NULL : array->number;
}

const int64_t *adamoe_routed_integers_of(const adamoe_routed *routed, const char *name)
{
    const adamoe_routed_array *array = adamoe_routed_find(routed, name);
    return array == NULL ? NULL : array->integer;
}

void adamoe_routed_free(adamoe_routed *routed)
{
    for (size_t i = 0; i < routed->arrays; ++i) {
        free(routed->array[i].number);
        free(routed->array[i].integer);
    }
    adamoe_plan_free(routed->plan);
    free(routed->inputs);
    free(routed->after);
    *routed = (adamoe_routed){0};
}

/* --------------------------------------------------------------------------------------------------- plan */

adamoe_status adamoe_slots_create(const adamoe_router_call *call, size_t ids, adamoe_routed *out,
                                  adamoe_slots *placement)
{
    placement->ids = ids;
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, call->tokens, ids, &placement->slot));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, call->tokens, ids, &placement->weight));
    for (size_t i = 0; i < call->tokens * ids; ++i) {
        placement->slot[i] = -1;
    }
    return adamoe_ok();
}

/* The arrays of a plan, which its readers see as const. */
typedef struct plan_arrays {
    uint32_t *offset, *input, *token_offset, *token_row;
    float *combine, *self_scale;
} plan_arrays;

static adamoe_status create_plan(const adamoe_router_call *call, size_t rows, bool has_self_scale,
                                 adamoe_routed *out, plan_arrays *arrays)
{
    const size_t tokens = call->tokens, n = call->experts;
    adamoe_plan *plan = out->plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        return no_memory();
    }
    *arrays = (plan_arrays){
        .offset = calloc(n + 1, sizeof *arrays->offset),
        .input = calloc(rows + 1, sizeof *arrays->input),
        .token_offset = calloc(tokens + 1, sizeof *arrays->token_offset),
        .token_row = calloc(rows + 1, sizeof *arrays->token_row),
        .combine = calloc(rows + 1, sizeof *arrays->combine),
        .self_scale = has_self_scale ? calloc(tokens + 1, sizeof *arrays->self_scale) : NULL,
    };
    *plan = (adamoe_plan){.tokens = tokens,
                          .inputs = tokens,
                          .rows = rows,
                          .experts = n,
                          .offset = arrays->offset,
                          .input = arrays->input,
                          .token_offset = arrays->token_offset,
                          .token_row = arrays->token_row,
                          .combine = arrays->combine,
                          .self_scale = arrays->self_scale};
    const bool complete = arrays->offset != NULL && arrays->input != NULL && arrays->token_offset != NULL &&
                          arrays->token_row != NULL && arrays->combine != NULL &&
                          (!has_self_scale || arrays->self_scale != NULL);
    return complete ? adamoe_ok() : no_memory();
}

static size_t count_rows(const adamoe_router_call *call, const adamoe_slots *placement)
{
    size_t rows = 0;
    for (size_t s = 0; s < call->tokens; ++s) {
        for (size_t e = 0; e < call->experts; ++e) {
            rows += placement->slot[s * placement->ids + e] >= 0;
        }
    }
    return rows;
}

/* A scale or a lambda may be larger than what a plan can hold. */
static adamoe_status check_weights(const adamoe_plan *plan)
{
    for (size_t s = 0; s < plan->tokens; ++s) {
        for (size_t i = plan->token_offset[s]; i < plan->token_offset[s + 1]; ++i) {
            if (!isfinite(plan->combine[i])) {
                return adamoe_error(ADAMOE_BAD_INPUT,
                                    "token %zu: the weight of expert %zu is more than float32 holds", s,
                                    adamoe_plan_expert(plan, plan->token_row[i]));
            }
        }
        if (plan->self_scale != NULL && !isfinite(plan->self_scale[s])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "token %zu: its self_scale is more than float32 holds", s);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_routed_plan(const adamoe_router_call *call, const adamoe_slots *placement,
                                 const double *self_scale, adamoe_routed *out)
{
    const size_t tokens = call->tokens, n = call->experts, ids = placement->ids;
    plan_arrays arrays = {0};
    ADAMOE_TRY(create_plan(call, count_rows(call, placement), self_scale != NULL, out, &arrays));
    for (size_t e = 0; e < n; ++e) {
        arrays.offset[e + 1] = arrays.offset[e];
        for (size_t s = 0; s < tokens; ++s) {
            arrays.offset[e + 1] += placement->slot[s * ids + e] >= 0;
        }
    }
    uint32_t place = 0;
    for (size_t s = 0; s < tokens; ++s) {
        for (size_t e = 0; e < n; ++e) {
            const int64_t slot = placement->slot[s * ids + e];
            if (slot >= 0) {
                const uint32_t row = arrays.offset[e] + (uint32_t)slot;
                arrays.input[row] = (uint32_t)s;
                arrays.token_row[place] = row;
                arrays.combine[place++] = (float)placement->weight[s * ids + e];
            }
        }
        arrays.token_offset[s + 1] = place;
        if (self_scale != NULL) {
            arrays.self_scale[s] = (float)self_scale[s];
        }
    }
    ADAMOE_TRY(check_weights(out->plan));
    ADAMOE_TRY(adamoe_routed_describe(out));
    adamoe_routed_exactly(out, placement->weight, ids, self_scale);
    return adamoe_ok();
}

static adamoe_status describe_rows(adamoe_routed *out)
{
    const adamoe_plan *plan = out->plan;
    int64_t *index;
    double *dispatch, *combine;
    ADAMOE_TRY(adamoe_routed_integers(out, "index", plan->rows, 3, &index));
    ADAMOE_TRY(adamoe_routed_numbers(out, "dispatch", plan->rows, 1, &dispatch));
    ADAMOE_TRY(adamoe_routed_numbers(out, "combine", plan->rows, 1, &combine));
    for (size_t row = 0; row < plan->rows; ++row) {
        const size_t e = adamoe_plan_expert(plan, row);
        index[3 * row] = plan->input[row];
        index[3 * row + 1] = (int64_t)e;
        index[3 * row + 2] = (int64_t)row - (int64_t)plan->offset[e];
        dispatch[row] = plan->dispatch == NULL ? 1.0 : (double)plan->dispatch[row];
    }
    for (size_t place = 0; place < plan->token_offset[plan->tokens]; ++place) {
        combine[plan->token_row[place]] = (double)plan->combine[place];
    }
    return adamoe_ok();
}

static adamoe_status describe_tokens(adamoe_routed *out)
{
    const adamoe_plan *plan = out->plan;
    size_t dropped = 0;
    int64_t *token;
    double *self_scale;
    for (size_t s = 0; s < plan->tokens; ++s) {
        dropped += plan->token_offset[s] == plan->token_offset[s + 1];
    }
    ADAMOE_TRY(adamoe_routed_integers(out, "dropped", dropped, 1, &token));
    for (size_t s = 0; s < plan->tokens; ++s) {
        if (plan->token_offset[s] == plan->token_offset[s + 1]) {
            *token++ = (int64_t)s;
        }
    }
    if (plan->self_scale == NULL) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_routed_numbers(out, "self_scale", plan->tokens, 1, &self_scale));
    for (size_t s = 0; s < plan->tokens; ++s) {
        self_scale[s] = (double)plan->self_scale[s];
    }
    return adamoe_ok();
}

adamoe_status adamoe_routed_describe(adamoe_routed *out)
{
    ADAMOE_TRY(describe_rows(out));
    return describe_tokens(out);
}

void adamoe_routed_exactly(adamoe_routed *out, const double *weight, size_t ids, const double *self_scale)
{
    const adamoe_plan *plan = out->plan;
    double *combine = adamoe_routed_find(out, "combine")->number;
    const adamoe_routed_array *scale = adamoe_routed_find(out, "self_scale");
    for (size_t row = 0; row < plan->rows; ++row) {
        combine[row] = weight[plan->input[row] * ids + adamoe_plan_expert(plan, row)];
    }
    for (size_t s = 0; scale != NULL && s < plan->tokens; ++s) {
        scale->number[s] = self_scale[s];
    }
}

/*
 * From a routing to a plan: the rows of each expert, and the order in which a token's rows are summed.
 */
#include "plan.h"
#include "router.h"

#include <stdlib.h>
#include <string.h>

/* The arrays that a plan points to, still writable. */
typedef struct plan_arrays {
    uint32_t *offset, *input, *token_offset, *token_row;
    float *combine, *self_scale;
} plan_arrays;

static void free_arrays(const plan_arrays *arrays)
{
    free(arrays->offset);
    free(arrays->input);
    free(arrays->token_offset);
    free(arrays->token_row);
    free(arrays->combine);
    free(arrays->self_scale);
}

static bool allocate_arrays(plan_arrays *arrays, size_t tokens, size_t experts, size_t rows, bool identity)
{
    *arrays = (plan_arrays){
        .offset = calloc(experts + 1, sizeof *arrays->offset),
        .input = calloc(rows + 1, sizeof *arrays->input), /* + 1: calloc(0) may give NULL */
        .token_offset = calloc(tokens + 1, sizeof *arrays->token_offset),
        .token_row = calloc(rows + 1, sizeof *arrays->token_row),
        .combine = calloc(rows + 1, sizeof *arrays->combine),
        .self_scale = identity ? calloc(tokens + 1, sizeof *arrays->self_scale) : NULL,
    };
    const bool complete = arrays->offset != NULL && arrays->input != NULL && arrays->token_offset != NULL &&
                          arrays->token_row != NULL && arrays->combine != NULL &&
                          (!identity || arrays->self_scale != NULL);
    if (!complete) {
        free_arrays(arrays);
    }
    return complete;
}

/* offset[e] = number of rows of the experts before e; token_offset[t] likewise for tokens. */
static void count_rows(const adamoe_routing *routing, plan_arrays *arrays)
{
    const size_t k = routing->rule.top_k;
    for (size_t t = 0; t < routing->tokens; ++t) {
        arrays->token_offset[t + 1] = arrays->token_offset[t];
        for (size_t j = 0; j < k; ++j) {
            const uint32_t e = routing->id[t * k + j];
            if (e < routing->experts) {
                ++arrays->offset[e + 1];
                ++arrays->token_offset[t + 1];
            }
        }
    }
    for (size_t e = 0; e < routing->experts; ++e) {
        arrays->offset[e + 1] += arrays->offset[e];
    }
}

/* The rows of each expert in the order of their tokens: a stable counting sort. row_weight is [rows], next
 * [experts]. */
static void place_rows(const adamoe_routing *routing, plan_arrays *arrays, float *row_weight, uint32_t *next)
{
    const size_t k = routing->rule.top_k;
    memcpy(next, arrays->offset, routing->experts * sizeof *next);
    for (size_t t = 0; t < routing->tokens; ++t) {
        for (size_t j = t * k; j < (t + 1) * k; ++j) {
            if (routing->id[j] < routing->experts) {
                const uint32_t row = next[routing->id[j]]++;
                arrays->input[row] = (uint32_t)t;
                row_weight[row] = routing->weight[j];
            }
        }
    }
}

/* Rows ascend by expert, so visiting them in their order appends to the list of each token in ascending order
 * of expert. next is [tokens]. */
static void place_tokens(const adamoe_routing *routing, plan_arrays *arrays, const float *row_weight,
                         uint32_t *next)
{
    const uint32_t rows = arrays->offset[routing->experts];
    memcpy(next, arrays->token_offset, routing->tokens * sizeof *next);
    for (uint32_t row = 0; row < rows; ++row) {
        const uint32_t place = next[arrays->input[row]]++;
        arrays->token_row[place] = row;
        arrays->combine[place] = row_weight[row];
    }
}

/* LongCat-Flash's identity experts: y += x * (sum of the p of the selected identity experts). */
static void place_self_scale(const adamoe_routing *routing, float *self_scale)
{
    const size_t k = routing->rule.top_k;
    for (size_t t = 0; t < routing->tokens; ++t) {
        double sum = 0.0;
        for (size_t j = 0; j < k; ++j) {
            if (routing->id[t * k + j] >= routing->experts) {
                sum += (double)routing->probability[t * k + j];
            }
        }
        self_scale[t] = (float)sum;
    }
}

static uint64_t total_rows(const adamoe_routing *routing)
{
    uint64_t rows = 0;
    for (size_t t = 0; t < routing->tokens; ++t) {
        rows += adamoe_routing_true_experts(routing, t);
    }
    return rows;
}

adamoe_status adamoe_plan_create(const adamoe_routing *routing, adamoe_plan **out)
{
    const uint64_t rows = total_rows(routing);
    if (rows >= UINT32_MAX || routing->tokens >= UINT32_MAX) {
        return adamoe_error(ADAMOE_BAD_INPUT, "plan: %zu tokens with %llu rows are more than 32 bits count",
                            routing->tokens, (unsigned long long)rows);
    }
    const bool identity = routing->rule.null_kind == ADAMOE_NULL_IDENTITY && routing->null_experts > 0;
    adamoe_plan *plan = malloc(sizeof *plan);
    const size_t longest = routing->tokens > routing->experts ? routing->tokens : routing->experts;
    uint32_t *next = calloc(longest + 1, sizeof *next);
    float *row_weight = calloc((size_t)rows + 1, sizeof *row_weight);
    plan_arrays arrays;
    if (plan == NULL || next == NULL || row_weight == NULL ||
        !allocate_arrays(&arrays, routing->tokens, routing->experts, (size_t)rows, identity)) {
        free(plan);
        free(next);
        free(row_weight);
        return adamoe_error(ADAMOE_ENVIRONMENT, "plan: out of memory for %zu tokens", routing->tokens);
    }
    count_rows(routing, &arrays);
    place_rows(routing, &arrays, row_weight, next);
    place_tokens(routing, &arrays, row_weight, next);
    free(next);
    free(row_weight);
    if (identity) {
        place_self_scale(routing, arrays.self_scale);
    }
    *plan = (adamoe_plan){
        .tokens = routing->tokens,
        .inputs = routing->tokens,
        .rows = (size_t)rows,
        .experts = routing->experts,
        .offset = arrays.offset,
        .input = arrays.input,
        .combine = arrays.combine,
        .token_offset = arrays.token_offset,
        .token_row = arrays.token_row,
        .self_scale = arrays.self_scale,
    };
    *out = plan;
    return adamoe_ok();
}

/* The plan's arrays are const for its readers; free() takes them back through an integer, without a cast that
 * drops the qualifier. */
static void release(const void *memory)
{
    free((void *)(uintptr_t)memory);
}

void adamoe_plan_free(adamoe_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    release(plan->offset);
    release(plan->input);
    release(plan->dispatch);
    release(plan->combine);
    release(plan->token_offset);
    release(plan->token_row);
    release(plan->self_scale);
    free(plan);
}

size_t adamoe_plan_expert(const adamoe_plan *plan, size_t row)
{
    size_t e = 0;
    while (plan->offset[e + 1] <= row) {
        ++e;
    }
    return e;
}

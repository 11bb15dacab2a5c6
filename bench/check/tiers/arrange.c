/*
 * A plan in another order, built as the reference builds one: expert by expert, the tokens of each in their
 * order.
 */
#include "check/tiers/arrange.h"

#include <stdlib.h>
#include <string.h>

typedef struct arrays {
    uint32_t *offset, *input, *token_offset, *token_row;
    float *dispatch, *combine, *self_scale;
} arrays;

/* NULL without memory, never for a count of 0. */
static void *allocate(size_t count)
{
    return calloc(count + 1, sizeof(uint32_t));
}

/* Stops where memory ends; then the plan is not complete. */
static bool allocate_arrays(const adamoe_plan *from, size_t tokens, size_t rows, arrays *a)
{
    *a = (arrays){.offset = allocate(from->experts + 1),
                  .input = allocate(rows),
                  .token_offset = allocate(tokens + 1),
                  .token_row = allocate(rows),
                  .dispatch = from->dispatch == NULL ? NULL : allocate(rows),
                  .combine = allocate(rows),
                  .self_scale = from->self_scale == NULL ? NULL : allocate(tokens)};
    return a->offset != NULL && a->input != NULL && a->token_offset != NULL && a->token_row != NULL &&
           a->combine != NULL && (a->dispatch != NULL) == (from->dispatch != NULL) &&
           (a->self_scale != NULL) == (from->self_scale != NULL);
}

/* The place of old token t in expert e, or SIZE_MAX. */
static size_t place_in_expert(const adamoe_plan *from, size_t t, size_t e)
{
    for (size_t i = from->token_offset[t]; i < from->token_offset[t + 1]; ++i) {
        if (from->token_row[i] >= from->offset[e] && from->token_row[i] < from->offset[e + 1]) {
            return i;
        }
    }
    return SIZE_MAX;
}

static size_t count_rows(const adamoe_plan *from, adamoe_arrangement arrangement, arrays *a)
{
    size_t rows = 0;
    for (size_t t = 0; t < arrangement.tokens; ++t) {
        const uint32_t old = arrangement.token[t];
        if (a != NULL) {
            a->token_offset[t] = (uint32_t)rows;
        }
        rows += from->token_offset[old + 1] - from->token_offset[old];
    }
    if (a != NULL) {
        a->token_offset[arrangement.tokens] = (uint32_t)rows;
    }
    return rows;
}

/* next[t] is the next free place of new token t. */
static void fill(const adamoe_plan *from, adamoe_arrangement arrangement, arrays *a, uint32_t *next)
{
    uint32_t row = 0;
    memcpy(next, a->token_offset, arrangement.tokens * sizeof *next);
    for (size_t e = 0; e < from->experts; ++e) {
        const size_t old_expert = arrangement.expert == NULL ? e : arrangement.expert[e];
        a->offset[e] = row;
        for (size_t t = 0; t < arrangement.tokens; ++t) {
            const size_t old = place_in_expert(from, arrangement.token[t], old_expert);
            if (old != SIZE_MAX) {
                a->input[row] = (uint32_t)t;
                a->token_row[next[t]] = row;
                a->combine[next[t]++] = from->combine[old];
                if (a->dispatch != NULL) {
                    a->dispatch[row] = from->dispatch[from->token_row[old]];
                }
                ++row;
            }
        }
    }
    a->offset[from->experts] = row;
    for (size_t t = 0; t < arrangement.tokens && a->self_scale != NULL; ++t) {
        a->self_scale[t] = from->self_scale[arrangement.token[t]];
    }
}

adamoe_status adamoe_arrange_plan(const adamoe_plan *from, adamoe_arrangement arrangement, adamoe_plan **out)
{
    const size_t rows = count_rows(from, arrangement, NULL);
    arrays a;
    adamoe_plan *plan = calloc(1, sizeof *plan);
    uint32_t *next = allocate(arrangement.tokens);
    const bool complete = allocate_arrays(from, arrangement.tokens, rows, &a) && plan != NULL && next != NULL;
    if (complete) {
        (void)count_rows(from, arrangement, &a);
        fill(from, arrangement, &a, next);
        *plan = (adamoe_plan){.tokens = arrangement.tokens,
                              .inputs = arrangement.tokens,
                              .rows = rows,
                              .experts = from->experts,
                              .offset = a.offset,
                              .input = a.input,
                              .dispatch = a.dispatch,
                              .token_offset = a.token_offset,
                              .token_row = a.token_row,
                              .combine = a.combine,
                              .self_scale = a.self_scale};
        *out = plan;
    } else {
        free(a.offset);
        free(a.input);
        free(a.token_offset);
        free(a.token_row);
        free(a.dispatch);
        free(a.combine);
        free(a.self_scale);
        free(plan);
    }
    free(next);
    return complete ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

void adamoe_arrange_rows(const float *from, adamoe_arrangement arrangement, size_t width, float *out)
{
    for (size_t t = 0; t < arrangement.tokens; ++t) {
        memcpy(out + t * width, from + arrangement.token[t] * width, width * sizeof *out);
    }
}

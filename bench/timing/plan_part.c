/*
 * One expert's part of a plan.
 */
#include "timing/plan_part.h"

#include <stdlib.h>

/* The places of every token whose rows are first .. end-1. */
static void keep_places(const adamoe_plan *plan, uint32_t first, uint32_t end, uint32_t *token_offset,
                        uint32_t *token_row, float *combine)
{
    uint32_t places = 0;
    for (size_t t = 0; t < plan->tokens; ++t) {
        token_offset[t] = places;
        for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
            if (plan->token_row[i] >= first && plan->token_row[i] < end) {
                token_row[places] = plan->token_row[i] - first;
                combine[places++] = plan->combine[i];
            }
        }
    }
    token_offset[plan->tokens] = places;
}

adamoe_status adamoe_plan_part_create(const adamoe_plan *plan, size_t expert, adamoe_plan_part *out)
{
    const uint32_t first = plan->offset[expert], end = plan->offset[expert + 1];
    const size_t places = plan->token_offset[plan->tokens];
    *out = (adamoe_plan_part){.memory =
                                  calloc(plan->experts + 1 + plan->tokens + 1 + places, sizeof *out->memory),
                              .combine = calloc(places + 1, sizeof *out->combine)};
    if (out->memory == NULL || out->combine == NULL) {
        adamoe_plan_part_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "part of a plan: out of memory");
    }
    uint32_t *const offset = out->memory, *const token_offset = offset + plan->experts + 1;
    uint32_t *const token_row = token_offset + plan->tokens + 1;
    for (size_t e = expert; e < plan->experts; ++e) {
        offset[e + 1] = end - first;
    }
    keep_places(plan, first, end, token_offset, token_row, out->combine);
    out->plan = (adamoe_plan){.tokens = plan->tokens,
                              .inputs = plan->inputs,
                              .rows = end - first,
                              .experts = plan->experts,
                              .offset = offset,
                              .input = plan->input + first,
                              .dispatch = plan->dispatch == NULL ? NULL : plan->dispatch + first,
                              .token_offset = token_offset,
                              .token_row = token_row,
                              .combine = out->combine,
                              .self_scale = expert == 0 ? plan->self_scale : NULL};
    return adamoe_ok();
}

void adamoe_plan_part_free(adamoe_plan_part *part)
{
    free(part->memory);
    free(part->combine);
    *part = (adamoe_plan_part){0};
}

/*
 * The plan of a routing on the fast path: what adamoe_plan_create of reference/router.h defines, on all
 * threads of a team, into arrays that are kept from call to call.
 */
#ifndef ADAMOE_MODEL_PLAN_BUILD_H
#define ADAMOE_MODEL_PLAN_BUILD_H

#include "adamoe.h"

/* A plan and its arrays. Begin with zeros; given back by adamoe_plan_space_free. */
typedef struct adamoe_plan_space {
    adamoe_plan plan; /* points to the arrays below */
    size_t token_room, row_room, expert_room, block_room;
    uint32_t *offset, *input, *token_offset, *token_row;
    float *combine, *self_scale;
    uint32_t *next;       /* [blocks, experts] rows of an expert in a block of tokens, then where they go */
    uint32_t *block_rows; /* [blocks + 1] rows of a block of tokens, then of those before it */
} adamoe_plan_space;

/* space->plan = the plan of a routing, equal to adamoe_plan_create's: a stable counting sort, block by block
 * of tokens. Allocates only where a size has grown. Errors: BAD_INPUT for an id that is not below n + m,
 * named by its token, and for more rows than 32 bits count; memory. */
adamoe_status adamoe_plan_build(const adamoe_team *team, const adamoe_routing *routing,
                                adamoe_plan_space *space);
void adamoe_plan_space_free(adamoe_plan_space *space);

#endif

/*
 * Routing and plan on the fast path: what adamoe_routing_create and adamoe_plan_create of reference/router.h
 * define, on all threads of a team, into arrays that are kept from call to call.
 */
#ifndef ADAMOE_MODEL_ROUTE_H
#define ADAMOE_MODEL_ROUTE_H

#include "adamoe.h"

/* A routing with room for `room` tokens. Begin with zeros; given back by adamoe_routing_space_free. */
typedef struct adamoe_routing_space {
    adamoe_routing routing;
    size_t room;
    size_t experts; /* n + m, and k, that the arrays have room for */
    size_t top_k;
} adamoe_routing_space;

/* Sets sizes and rule of space->routing, whose arrays then have room and undefined content: fill in logits,
 * then call adamoe_route. Allocates only where a size has grown. Errors: BAD_INPUT for n = 0 or a top_k
 * outside 1 .. n + m; memory. */
adamoe_status adamoe_routing_space_begin(adamoe_routing_space *space, size_t tokens, size_t experts,
                                         size_t null_experts, adamoe_rule rule);
void adamoe_routing_space_free(adamoe_routing_space *space);

/* The program's own adamoe_kernel.route: fills id, weight, probability and probabilities from logits. The ids
 * are those of the reference for the same logits; weights and probabilities are its within a few units of
 * their last place, where they are not subnormal. A token's result has the same bits whatever else is routed.
 * Errors (BAD_INPUT): a logit that is NaN or infinite, named by token and expert. */
adamoe_status adamoe_route(const adamoe_run *run, adamoe_routing *routing);

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

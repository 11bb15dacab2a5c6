/*
 * Routing on the fast path: what adamoe_routing_create of reference/router.h defines, on all threads of a
 * team, into arrays that are kept from call to call. Left out: the plan (plan_build.h).
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

#endif

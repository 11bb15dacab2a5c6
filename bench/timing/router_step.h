/*
 * What stands before the experts of a layer: logits, routing and plan, timed apart.
 */
#ifndef ADAMOE_TIMING_ROUTER_STEP_H
#define ADAMOE_TIMING_ROUTER_STEP_H

#include "layers/traffic.h"

typedef struct adamoe_router_step adamoe_router_step;

/* The router of `selection` for `tokens` tokens; rows [n + m, hidden_size] must outlive it. The product is
 * the kernel's own where it multiplies in float32, else that of `fallback`: rounded operands are for the
 * experts, not for the router (reference/README.md section 4). The routing is the kernel's own where it
 * brings one, else the program's, and so is the plan. Errors: what the kernels report, memory. */
adamoe_status adamoe_router_step_create(const adamoe_kernel *kernel, const adamoe_kernel *fallback,
                                        adamoe_selection selection, const float *rows, size_t tokens,
                                        const adamoe_team *team, const adamoe_host *host,
                                        const adamoe_placement *placement, adamoe_router_step **out);
void adamoe_router_step_free(adamoe_router_step *step);

/* Seconds of one call: from hidden states to a routing, and from there to a plan. */
typedef struct adamoe_router_seconds {
    double route, plan;
} adamoe_router_seconds;

/* *plan belongs to the step, until the next run. x is [tokens, hidden_size]. Adds to *seconds. Errors: what
 * the kernel reports; logits that are not finite; memory. */
adamoe_status adamoe_router_step_run(adamoe_router_step *step, const float *x, const adamoe_plan **plan,
                                     adamoe_router_seconds *seconds);

/* An error (DIFFERENCE) that names the token where the latest routing selects other experts than `wanted`. */
adamoe_status adamoe_router_step_compare(const adamoe_router_step *step, const adamoe_routing *wanted);

#endif

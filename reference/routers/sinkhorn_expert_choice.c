/*
 * Sinkhorn expert choice: reference/README.md section 12.4. The transport plan ranks, the softmax weighs.
 */
#include "routers/parts.h"

enum { CAPACITY_FACTOR, EPSILON, ITERATIONS };

static const adamoe_router_parameter parameters[] = {
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [EPSILON] = ADAMOE_POSITIVE("epsilon", 1.0),
    [ITERATIONS] = ADAMOE_COUNT("iterations", 1.0, 1e6, 20.0),
};

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    double *scores, *plan;
    ADAMOE_TRY(
        adamoe_gate_sinkhorn(call, call->value[EPSILON], call->value[ITERATIONS], out, &scores, &plan));
    return adamoe_expert_choice(call, plan, scores, call->value[CAPACITY_FACTOR], out);
}

ADAMOE_ROUTER(sinkhorn_expert_choice, "each expert takes its best tokens by an entropic transport plan",
              adamoe_gate_softmax_backward, NULL);

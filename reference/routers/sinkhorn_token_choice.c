/*
 * Sinkhorn token choice with capacity: reference/README.md section 12.2. The transport plan selects, the softmax
 * weighs.
 */
#include "routers/parts.h"

enum { TOP_K, CAPACITY_FACTOR, EPSILON, ITERATIONS };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = ADAMOE_COUNT("top_k", 1.0, ADAMOE_ANY_COUNT, 1.0),
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [EPSILON] = ADAMOE_POSITIVE("epsilon", 1.0),
    [ITERATIONS] = ADAMOE_COUNT("iterations", 1.0, 1e6, 20.0),
};

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    double *scores, *plan;
    ADAMOE_TRY(
        adamoe_gate_sinkhorn(call, call->value[EPSILON], call->value[ITERATIONS], out, &scores, &plan));
    return adamoe_token_choice(call, plan, scores, (size_t)call->value[TOP_K], call->value[CAPACITY_FACTOR],
                               false, out);
}

ADAMOE_ROUTER(sinkhorn_token_choice, "k largest of an entropic transport plan, experts with capacity",
              adamoe_token_choice_backward, "gshard", "importance");

/*
 * Softmax expert choice (Zhou et al.): reference/README.md section 12.3.
 */
#include "routers/parts.h"

enum { CAPACITY_FACTOR };

static const adamoe_router_parameter parameters[] = {
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
};

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    double *scores;
    ADAMOE_TRY(adamoe_gate_softmax(call, out, &scores));
    return adamoe_expert_choice(call, scores, scores, call->value[CAPACITY_FACTOR], out);
}

ADAMOE_ROUTER(softmax_expert_choice, "each expert takes its best tokens by the softmax",
              adamoe_gate_softmax_backward, NULL);

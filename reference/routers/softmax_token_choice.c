/*
 * Softmax token choice with capacity (V-MoE): reference/README.md section 12.1. The noise on the logits and the
 * load loss that goes with it are left out.
 */
#include "routers/parts.h"

enum { TOP_K, CAPACITY_FACTOR, BATCH_PRIORITY };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = ADAMOE_COUNT("top_k", 1.0, ADAMOE_ANY_COUNT, 1.0),
    [CAPACITY_FACTOR] = ADAMOE_POSITIVE("capacity_factor", 1.0),
    [BATCH_PRIORITY] = ADAMOE_FLAG("batch_priority", 0.0),
};

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    double *scores;
    ADAMOE_TRY(adamoe_gate_softmax(call, out, &scores));
    return adamoe_token_choice(call, scores, scores, (size_t)call->value[TOP_K], call->value[CAPACITY_FACTOR],
                               call->value[BATCH_PRIORITY] != 0.0, out);
}

ADAMOE_ROUTER(softmax_token_choice, "k largest of the softmax, experts with capacity",
              adamoe_token_choice_backward, "gshard", "importance");

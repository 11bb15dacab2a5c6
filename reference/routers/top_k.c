/*
 * Vanilla top-k: AdaMoE without null experts, reference/README.md section 2.
 */
#include "routers/parts.h"

enum { TOP_K, NORM };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = ADAMOE_COUNT("top_k", 1.0, ADAMOE_ANY_COUNT, 2.0),
    [NORM] = ADAMOE_CHOICE("norm", "true|all|none"),
};

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const adamoe_rule rule = {.top_k = (size_t)call->value[TOP_K], .norm = (adamoe_norm)call->value[NORM]};
    return adamoe_route_by_rule(call, false, rule, out);
}

ADAMOE_ROUTER(top_k, "k largest logits, no capacity");

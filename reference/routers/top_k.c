/*
 * Vanilla top-k: AdaMoE without null experts, reference/README.md section 2.
 */
#include "routers/parts.h"

enum { TOP_K, NORM };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = ADAMOE_COUNT("top_k", 1.0, ADAMOE_ANY_COUNT, 2.0),
    [NORM] = ADAMOE_CHOICE("norm", "true|all|none"),
};

static adamoe_rule rule_of(const adamoe_router_call *call)
{
    return (adamoe_rule){.top_k = (size_t)call->value[TOP_K], .norm = (adamoe_norm)call->value[NORM]};
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    return adamoe_route_by_rule(call, false, rule_of(call), out);
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    return adamoe_rule_backward(call, rule_of(call), routed, derivative, gradient);
}

/* Without null experts both forms of the balance loss are one. */
ADAMOE_ROUTER(top_k, "k largest logits, no capacity", backward, "switch", "null_averaged");

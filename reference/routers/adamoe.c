/*
 * AdaMoE as a row of the table: reference/README.md sections 2 and 3, by the functions that define it.
 */
#include "router.h"
#include "routers/parts.h"

#include <stdlib.h>

enum { TOP_K, NORM, NULL_KIND };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = {.name = "top_k",
               .kind = ADAMOE_PARAMETER_COUNT,
               .need = ADAMOE_PARAMETER_REQUIRED,
               .low = 1.0,
               .high = ADAMOE_ANY_COUNT},
    [NORM] = ADAMOE_CHOICE("norm", "true|all|none|every"),
    [NULL_KIND] = ADAMOE_CHOICE("null_kind", "zero|identity"),
};

static adamoe_status describe_routing(const adamoe_router_call *call, const adamoe_routing *routing,
                                      adamoe_routed *out)
{
    const size_t ids = routing->experts + routing->null_experts, top_k = routing->rule.top_k;
    const adamoe_balance_loss loss = adamoe_routing_balance_loss(routing, NULL);
    double *scores;
    int64_t *choice;
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", call->tokens, ids, &scores));
    ADAMOE_TRY(adamoe_routed_integers(out, "choice", call->tokens, top_k, &choice));
    for (size_t i = 0; i < call->tokens * ids; ++i) {
        scores[i] = (double)routing->probabilities[i];
    }
    for (size_t i = 0; i < call->tokens * top_k; ++i) {
        choice[i] = routing->id[i];
    }
    ADAMOE_TRY(adamoe_routed_number(out, "loss.switch", loss.switch_form));
    ADAMOE_TRY(adamoe_routed_number(out, "loss.null_averaged", loss.null_averaged));
    ADAMOE_TRY(adamoe_plan_create(routing, &out->plan));
    return adamoe_routed_describe(out);
}

adamoe_status adamoe_route_by_rule(const adamoe_router_call *call, bool with_null_experts, adamoe_rule rule,
                                   adamoe_routed *out)
{
    double *logits;
    size_t null_experts = 0;
    ADAMOE_TRY(adamoe_gate_logits(call, with_null_experts ? &null_experts : NULL, out, &logits));
    const size_t ids = call->experts + null_experts;
    ADAMOE_TRY(adamoe_check_top_k(rule.top_k, ids));
    float *stored = calloc(call->tokens * ids, sizeof *stored);
    if (stored == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    for (size_t i = 0; i < call->tokens * ids; ++i) {
        stored[i] = (float)logits[i];
    }
    adamoe_routing *routing = NULL;
    adamoe_status status =
        adamoe_routing_create(stored, call->tokens, call->experts, null_experts, rule, &routing);
    free(stored);
    if (status.code == ADAMOE_OK) {
        status = describe_routing(call, routing, out);
        adamoe_routing_free(routing);
    }
    return status;
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const adamoe_rule rule = {.top_k = (size_t)call->value[TOP_K],
                              .norm = (adamoe_norm)call->value[NORM],
                              .null_kind = (adamoe_null_kind)call->value[NULL_KIND]};
    return adamoe_route_by_rule(call, true, rule, out);
}

ADAMOE_ROUTER(adamoe, "k largest logits among true and null experts");

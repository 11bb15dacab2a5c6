/*
 * AdaMoE as a row of the table: reference/README.md sections 2 and 3, by the functions that define it.
 */
#include "gradient/gradient.h"
#include "router.h"
#include "plan.h"
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

/* One token of what the rule makes of logits, in double. */
typedef struct ruled {
    adamoe_rule rule;
    size_t experts, null_experts, ids;
    const double *logits;  /* [tokens, ids] */
    const int64_t *choice; /* [tokens, top_k] */
    uint32_t *id;          /* [top_k] in scratch that would hold wider ones */
} ruled;

static adamoe_status begin_ruled(const adamoe_router_call *call, adamoe_rule rule, adamoe_routed *routed,
                                 ruled *r)
{
    const adamoe_routed_array *logits = adamoe_routed_find(routed, "logits");
    int64_t *room;
    ADAMOE_TRY(adamoe_routed_integers(routed, NULL, rule.top_k, 1, &room));
    *r = (ruled){.rule = rule,
                 .experts = call->experts,
                 .null_experts = logits->columns - call->experts,
                 .ids = logits->columns,
                 .logits = logits->number,
                 .choice = adamoe_routed_integers_of(routed, "choice"),
                 .id = (uint32_t *)(void *)room};
    return adamoe_ok();
}

static void select_token(const ruled *r, size_t s)
{
    for (size_t j = 0; j < r->rule.top_k; ++j) {
        r->id[j] = (uint32_t)r->choice[s * r->rule.top_k + j];
    }
}

/* combine and self_scale in double: the weights of a routing are rounded. Where they are no softmax there is no
 * double of them (adamoe_norm_trains). */
static adamoe_status describe_weights(const adamoe_router_call *call, adamoe_rule rule, adamoe_routed *out)
{
    ruled r;
    double *weight, *self_scale, *selected, *probability;
    if (adamoe_norm_trains(rule.norm).code != ADAMOE_OK) {
        return adamoe_ok();
    }
    ADAMOE_TRY(begin_ruled(call, rule, out, &r));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, call->tokens, r.ids, &weight));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, call->tokens, 1, &self_scale));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, rule.top_k, 1, &selected));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, r.ids, 1, &probability));
    for (size_t s = 0; s < call->tokens; ++s) {
        adamoe_token_weights weights = {.probability = probability, .weight = selected};
        select_token(&r, s);
        adamoe_token_weights_double(rule, r.experts, r.null_experts, r.logits + s * r.ids, r.id, &weights);
        for (size_t j = 0; j < rule.top_k; ++j) {
            weight[s * r.ids + r.id[j]] = selected[j];
        }
        self_scale[s] = weights.self;
    }
    adamoe_routed_exactly(out, weight, r.ids, self_scale);
    return adamoe_ok();
}

/* The counts of null experts become their mean: the paper's form of the balance loss. */
static void average_nulls(size_t experts, size_t ids, double *count)
{
    double sum = 0.0;
    for (size_t i = experts; i < ids; ++i) {
        sum += count[i];
    }
    for (size_t i = experts; i < ids; ++i) {
        count[i] = sum / (double)(ids - experts);
    }
}

/* Scores and losses (reference/README.md section 3) in double; the routing has them rounded. */
static adamoe_status describe_routing(const adamoe_router_call *call, const adamoe_routing *routing,
                                      adamoe_routed *out)
{
    const size_t ids = routing->experts + routing->null_experts, top_k = routing->rule.top_k;
    const double *logits = adamoe_routed_numbers_of(out, "logits");
    double *scores, *count;
    int64_t *choice;
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", call->tokens, ids, &scores));
    ADAMOE_TRY(adamoe_routed_integers(out, "choice", call->tokens, top_k, &choice));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, ids, 1, &count));
    adamoe_softmax_rows(logits, call->tokens, ids, scores);
    for (size_t i = 0; i < call->tokens * top_k; ++i) {
        choice[i] = routing->id[i];
    }
    adamoe_count_choices(choice, call->tokens * top_k, ids, count);
    ADAMOE_TRY(adamoe_routed_number(out, "loss.switch",
                                    (double)ids * adamoe_balance(count, scores, call->tokens, ids)));
    average_nulls(call->experts, ids, count);
    ADAMOE_TRY(adamoe_routed_number(out, "loss.null_averaged",
                                    (double)ids * adamoe_balance(count, scores, call->tokens, ids)));
    ADAMOE_TRY(adamoe_plan_create(routing, &out->plan));
    ADAMOE_TRY(adamoe_routed_describe(out));
    return describe_weights(call, routing->rule, out);
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

/* slope[i], the derivative of both losses with respect to p[s, i], the same for every token: (n + m) f_i / S. */
static void balance_slope(const ruled *r, size_t tokens, const adamoe_router_derivative *derivative,
                          double *count, double *slope)
{
    adamoe_count_choices(r->choice, tokens * r->rule.top_k, r->ids, count);
    for (size_t form = 0; form < 2; ++form) {
        for (size_t i = 0; i < r->ids; ++i) {
            slope[i] +=
                derivative->loss[form] * (double)r->ids * count[i] / ((double)tokens * (double)tokens);
        }
        average_nulls(r->experts, r->ids, count);
    }
}

/* The derivative of token s with respect to each selected weight, from that of its places in the plan, whose experts
 * ascend and are the selected true ones. */
static void selected_derivative(const ruled *r, const adamoe_plan *plan, const double *dcombine, size_t s,
                                double *dweight)
{
    for (size_t j = 0; j < r->rule.top_k; ++j) {
        dweight[j] = 0.0;
        for (size_t i = plan->token_offset[s]; i < plan->token_offset[s + 1]; ++i) {
            dweight[j] += adamoe_plan_expert(plan, plan->token_row[i]) == r->id[j] ? dcombine[i] : 0.0;
        }
    }
}

adamoe_status adamoe_rule_backward(const adamoe_router_call *call, adamoe_rule rule, adamoe_routed *routed,
                                   const adamoe_router_derivative *derivative,
                                   const adamoe_router_gradient *gradient)
{
    ruled r;
    double *count, *slope, *dweight, *dlogits;
    ADAMOE_TRY(adamoe_norm_trains(rule.norm));
    ADAMOE_TRY(begin_ruled(call, rule, routed, &r));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, r.ids, 1, &count));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, r.ids, 1, &slope));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, rule.top_k, 1, &dweight));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, call->tokens, r.ids, &dlogits));
    balance_slope(&r, call->tokens, derivative, count, slope);
    for (size_t s = 0; s < call->tokens; ++s) {
        select_token(&r, s);
        selected_derivative(&r, routed->plan, derivative->combine, s, dweight);
        const adamoe_token_weights token = {
            .probability = slope,
            .weight = dweight,
            .self = routed->plan->self_scale == NULL ? 0.0 : derivative->self_scale[s]};
        adamoe_token_weights_backward(rule, r.experts, r.null_experts, r.logits + s * r.ids, r.id, &token,
                                      dlogits + s * r.ids);
    }
    return adamoe_gate_backward(call, dlogits, r.ids, gradient);
}

static adamoe_rule rule_of(const adamoe_router_call *call)
{
    return (adamoe_rule){.top_k = (size_t)call->value[TOP_K],
                         .norm = (adamoe_norm)call->value[NORM],
                         .null_kind = (adamoe_null_kind)call->value[NULL_KIND]};
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    return adamoe_route_by_rule(call, true, rule_of(call), out);
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    return adamoe_rule_backward(call, rule_of(call), routed, derivative, gradient);
}

ADAMOE_ROUTER(adamoe, "k largest logits among true and null experts", backward, "switch", "null_averaged");

/*
 * The tier `routing`: the same experts in the same order as reference/router.c.
 *
 * From given logits nothing is forgiven: see judge.h.
 *
 * From logits that the kernel computes itself, two experts may change places if the exact logits differ by
 * more than 0 and by no more than their bounds. Such flips are counted, and said. Half of the null experts'
 * rows are copies of true ones: those ties are exact, and never forgiven.
 */
#include "check/tiers/route/judge.h"
#include "check/tiers/route/logits.h"
#include "check/tiers/route/tiers.h"
#include "layers/random_layer.h"
#include "numbers.h"
#include "model/plan_build.h"
#include "bound/bound.h"
#include "plan.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------ given logits */

/* What the caller of a router must report, so that it never sees it. */
static void expect_refusal(const adamoe_checking *k, adamoe_status status)
{
    char place[64];
    (void)snprintf(place, sizeof place, "token %zu", k->c->tokens / 2);
    if (status.code != ADAMOE_BAD_INPUT || strstr(status.message, place) == NULL) {
        adamoe_check_settle(k, ADAMOE_CHECK_FAILED,
                            "a logit of %s that is not finite was not reported: %.200s", place,
                            status.message);
    }
}

static adamoe_status compare_route(const adamoe_checking *k, const float *logits,
                                   const adamoe_routing *expected, adamoe_routing *got)
{
    static const adamoe_guard_end ends[] = {ADAMOE_GUARD_BACK, ADAMOE_GUARD_FRONT};
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2 && k->out->status == ADAMOE_CHECK_PASSED; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_route(&manner, logits, got, &outcome));
        if (adamoe_check_called(k, &outcome)) {
            (void)adamoe_check_routing(k, got, expected);
        }
    }
    return adamoe_ok();
}

static bool same_array(const void *a, const void *b, size_t count)
{
    return count == 0 || (a != NULL && b != NULL && memcmp(a, b, count * sizeof(uint32_t)) == 0);
}

/* The program's own plan of a routing, and the reference's: the same bits. */
static adamoe_status compare_plans(const adamoe_checking *k, const adamoe_routing *routing)
{
    adamoe_plan *plan = NULL;
    adamoe_plan_space space = {0};
    ADAMOE_TRY(adamoe_plan_create(routing, &plan));
    const adamoe_status status = adamoe_plan_build(k->team, routing, &space);
    const adamoe_plan *got = &space.plan;
    if (status.code == ADAMOE_OK &&
        !(got->rows == plan->rows && got->tokens == plan->tokens && got->inputs == plan->inputs &&
          same_array(got->offset, plan->offset, plan->experts + 1) &&
          same_array(got->input, plan->input, plan->rows) &&
          same_array(got->token_offset, plan->token_offset, plan->tokens + 1) &&
          same_array(got->token_row, plan->token_row, plan->rows) &&
          same_array(got->combine, plan->combine, plan->rows))) {
        adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "the plan of the forward pass is not the reference's");
    }
    adamoe_plan_space_free(&space);
    adamoe_plan_free(plan);
    return status;
}

adamoe_status adamoe_check_route_routing(const adamoe_checking *k)
{
    const adamoe_case *c = k->c;
    const size_t all = c->mixture.experts + c->mixture.null_experts;
    const bool refused = c->logits == ADAMOE_LOGITS_NAN || c->logits == ADAMOE_LOGITS_INFINITE;
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(c).text, k->seed);
    adamoe_routing *expected = NULL, *got = NULL;
    float *logits = NULL;
    ADAMOE_TRY(adamoe_check_floats(c->tokens * all, &logits));
    adamoe_check_logits(c, &random, logits);
    adamoe_status status = adamoe_routing_create(logits, c->tokens, c->mixture.experts,
                                                 c->mixture.null_experts, adamoe_check_rule(c), &expected);
    if (refused) {
        expect_refusal(k, status);
        status = adamoe_ok();
    } else if (status.code == ADAMOE_OK) {
        /* Of the same sizes; the call overwrites what it holds. */
        status = adamoe_routing_create(logits, c->tokens, c->mixture.experts, c->mixture.null_experts,
                                       adamoe_check_rule(c), &got);
        if (status.code == ADAMOE_OK) {
            status = compare_route(k, logits, expected, got);
        }
        if (status.code == ADAMOE_OK && k->out->status == ADAMOE_CHECK_PASSED) {
            status = compare_plans(k, expected);
        }
    }
    adamoe_routing_free(expected);
    adamoe_routing_free(got);
    free(logits);
    return status;
}

/* --------------------------------------------------------------------------------------- computed logits */

/* gate [n, d] and gate2 [m, d] in one matrix; every other null row is a copy of a true one. */
static void make_gate(const adamoe_case *c, adamoe_splitmix64 *random, unsigned char *rows)
{
    const size_t row_bytes = c->hidden_size * adamoe_dtype_bytes(c->weights);
    const size_t n = c->mixture.experts, m = c->mixture.null_experts;
    adamoe_random_values(random, c->weights, adamoe_weight_bound(c->hidden_size), (n + m) * c->hidden_size,
                         rows);
    for (size_t i = 0; i < m; i += 2) {
        memcpy(rows + (n + i) * row_bytes, rows + i % n * row_bytes, row_bytes);
    }
}

/* Counts the flips of token t; false where one is not forgiven. */
static bool count_flips(const adamoe_checking *k, const adamoe_yardstick *yardstick,
                        const adamoe_routing *got, const adamoe_routing *expected, size_t t, size_t *flips)
{
    const size_t top_k = got->rule.top_k, all = got->experts + got->null_experts;
    const double lambda = adamoe_bound_factor(yardstick->count, ADAMOE_FALSE_ALARM);
    for (size_t j = 0; j < top_k; ++j) {
        const uint32_t a = got->id[t * top_k + j], b = expected->id[t * top_k + j];
        const size_t at_a = t * all + a, at_b = t * all + b;
        const double distance = fabs(yardstick->expected[at_a] - yardstick->expected[at_b]);
        const double room = lambda * (yardstick->spread[at_a] + yardstick->spread[at_b]) +
                            yardstick->slack[at_a] + yardstick->slack[at_b];
        if (a != b && !(distance > 0.0 && distance <= room)) {
            adamoe_check_routing_fails(k, t, j, (double)a, (double)b, room,
                                       distance == 0.0
                                           ? "an exact tie broken the other way: the lower index wins"
                                           : "another expert was selected, though the logits are not close");
            return false;
        }
        *flips += a != b;
    }
    return true;
}

static adamoe_status select_experts(const adamoe_case *c, const float *logits, adamoe_routing **out)
{
    return adamoe_routing_create(logits, c->tokens, c->mixture.experts, c->mixture.null_experts,
                                 adamoe_check_rule(c), out);
}

static adamoe_status compare_selection(const adamoe_checking *k, const adamoe_yardstick *yardstick,
                                       const float *logits)
{
    adamoe_routing *got = NULL, *expected = NULL;
    float *exact = NULL;
    size_t flips = 0;
    ADAMOE_TRY(adamoe_check_floats(yardstick->count, &exact));
    for (size_t i = 0; i < yardstick->count; ++i) {
        exact[i] = (float)yardstick->expected[i];
    }
    adamoe_status status = select_experts(k->c, exact, &expected);
    if (status.code == ADAMOE_OK) {
        status = select_experts(k->c, logits, &got);
    }
    bool forgiven = status.code == ADAMOE_OK;
    for (size_t t = 0; t < k->c->tokens && forgiven; ++t) {
        forgiven = count_flips(k, yardstick, got, expected, t, &flips);
    }
    if (forgiven && flips > 0) {
        (void)snprintf(k->out->detail, sizeof k->out->detail, "%zu flip%s of near ties in %zu choices", flips,
                       flips == 1 ? "" : "s", k->c->tokens * k->c->mixture.top_k);
    }
    adamoe_routing_free(got);
    adamoe_routing_free(expected);
    free(exact);
    return status;
}

static adamoe_status compare_logits(const adamoe_checking *k, const adamoe_matrix *gate, const float *x,
                                    float *logits, adamoe_yardstick *yardstick)
{
    const adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_BACK);
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_multiply(&manner, gate, x, k->c->tokens, logits, &outcome));
    if (!adamoe_check_called(k, &outcome)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(
        adamoe_matrix_yardstick(gate, adamoe_kernel_arithmetic(k->kernel), x, k->c->tokens, yardstick));
    if (!adamoe_check_judge(k, yardstick, logits, gate->rows, 1.0)) {
        return adamoe_ok();
    }
    return compare_selection(k, yardstick, logits);
}

adamoe_status adamoe_check_logits_routing(const adamoe_checking *k)
{
    if (k->kernel->x != ADAMOE_FLOAT32 || k->kernel->weight != ADAMOE_FLOAT32) {
        adamoe_check_settle(k, ADAMOE_CHECK_SKIPPED,
                            "the router is computed in float32, not by a kernel that rounds its operands");
        return adamoe_ok();
    }
    const adamoe_case *c = k->c;
    const size_t all = c->mixture.experts + c->mixture.null_experts;
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(c).text, k->seed);
    unsigned char *rows = calloc(all * c->hidden_size + 1, sizeof(float));
    float *x = NULL, *logits = NULL;
    adamoe_yardstick yardstick = {0};
    adamoe_status status = rows == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory")
                                        : adamoe_check_floats(c->tokens * c->hidden_size, &x);
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_floats(c->tokens * all, &logits);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_yardstick_create(c->tokens * all, &yardstick);
    }
    if (status.code == ADAMOE_OK) {
        const adamoe_matrix gate = {rows, c->weights, all, c->hidden_size};
        make_gate(c, &random, rows);
        adamoe_random_states(&random, c->tokens * c->hidden_size, x);
        status = compare_logits(k, &gate, x, logits, &yardstick);
    }
    adamoe_yardstick_free(&yardstick);
    free(rows);
    free(x);
    free(logits);
    return status;
}

/*
 * One router on the tokens of one layer, to be timed.
 */
#include "routers/timed_router.h"
#include "machine/clock.h"
#include "machine/host.h"
#include "plan.h"

#include <math.h>
#include <stdlib.h>

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "routers: out of memory");
}

void adamoe_timed_router_close(adamoe_timed_router *router)
{
    adamoe_gate_product_free(&router->product);
    adamoe_frozen_base_free(&router->base);
    adamoe_routed_free(&router->routed);
    free(router->y);
    free(router->of_base);
    *router = (adamoe_timed_router){.setup = NULL};
}

static adamoe_status open_parts(adamoe_timed_router *r)
{
    const size_t values = r->setup->call.tokens * r->setup->call.hidden_size;
    ADAMOE_TRY(
        adamoe_gate_product_create(r->setup, r->kernel, r->machine, &r->kernel_made_logits, &r->product));
    ADAMOE_TRY(adamoe_frozen_base_create(r->setup, r->kernel, r->machine, &r->has_base, &r->base));
    r->y = calloc(values, sizeof *r->y);
    r->of_base = calloc(r->has_base ? values : 1, sizeof *r->of_base);
    return r->y != NULL && r->of_base != NULL ? adamoe_ok() : no_memory();
}

adamoe_status adamoe_timed_router_open(adamoe_router_setup *setup, const adamoe_kernel *kernel,
                                       const adamoe_machine *machine, adamoe_prepared *prepared,
                                       adamoe_timed_router *out)
{
    *out = (adamoe_timed_router){.setup = setup, .kernel = kernel, .machine = machine, .prepared = prepared};
    const adamoe_status status = open_parts(out);
    if (status.code != ADAMOE_OK) {
        adamoe_timed_router_close(out);
    }
    return status;
}

/* Only Soft MoE's plan has no (token, expert) for a row: its inputs are slots. */
static bool selects(const adamoe_routed *routed)
{
    return adamoe_routed_find(routed, "index") != NULL;
}

static adamoe_status run_rule(adamoe_timed_router *r, double *seconds)
{
    adamoe_router_call call = r->setup->call;
    call.logits = r->kernel_made_logits ? r->product.logits : NULL;
    const double start = adamoe_now();
    adamoe_status status = adamoe_router_run_before(r->setup->router, &call, &r->routed);
    if (status.code == ADAMOE_OK && !selects(&r->routed) && !r->kernel_made_logits) {
        status = r->setup->router->after(&call, &r->routed);
    }
    *seconds += adamoe_now() - start;
    return status;
}

adamoe_status adamoe_timed_router_route(adamoe_timed_router *r, double *seconds)
{
    adamoe_routed_free(&r->routed);
    *seconds = 0.0;
    if (r->kernel_made_logits) {
        ADAMOE_TRY(adamoe_gate_product_run(&r->product, seconds));
    }
    ADAMOE_TRY(run_rule(r, seconds));
    return selects(&r->routed) || r->routed.inputs != NULL
               ? adamoe_ok()
               : adamoe_mix_slots(r->setup, r->kernel, r->machine, &r->routed, seconds);
}

static adamoe_status run_experts(const adamoe_timed_router *r, double *seconds)
{
    const adamoe_plan *plan = r->routed.plan;
    const float *x = r->routed.inputs != NULL ? r->routed.inputs : r->setup->call.hidden_states;
    const size_t bytes = r->kernel->work_bytes(r->prepared, plan->rows, plan->tokens);
    adamoe_run run = {
        .team = r->machine->team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    if (run.work == NULL) {
        return no_memory();
    }
    const double start = adamoe_now();
    const adamoe_status status = r->kernel->experts(r->prepared, &run, x, plan, r->y);
    *seconds += adamoe_now() - start;
    adamoe_heap_host.release(NULL, run.work);
    return status;
}

adamoe_status adamoe_timed_router_run(adamoe_timed_router *r, double *seconds)
{
    const adamoe_router_call *call = &r->setup->call;
    *seconds = 0.0;
    ADAMOE_TRY(run_experts(r, seconds));
    if (r->has_base) {
        ADAMOE_TRY(adamoe_frozen_base_run(&r->base, call->hidden_states, r->of_base, seconds));
    }
    const float *added = r->has_base ? r->of_base : r->routed.after; /* or the constant vectors of MoE++ */
    const double start = adamoe_now();
    for (size_t i = 0; added != NULL && i < call->tokens * call->hidden_size; ++i) {
        r->y[i] += added[i];
    }
    *seconds += adamoe_now() - start;
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- comparison */

/* The rows of one token are listed by ascending expert in any router's plan. */
static bool has_same_experts(const adamoe_plan *a, const adamoe_plan *b, size_t s)
{
    const size_t rows = a->token_offset[s + 1] - a->token_offset[s];
    bool is_same = rows == b->token_offset[s + 1] - b->token_offset[s];
    for (size_t i = 0; i < rows && is_same; ++i) {
        is_same = adamoe_plan_expert(a, a->token_row[a->token_offset[s] + i]) ==
                  adamoe_plan_expert(b, b->token_row[b->token_offset[s] + i]);
    }
    return is_same;
}

adamoe_status adamoe_timed_router_compare(const adamoe_timed_router *r, size_t *otherwise, double *difference)
{
    adamoe_routed defined;
    *otherwise = 0;
    *difference = 0.0;
    if (!r->kernel_made_logits || !selects(&r->routed)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_router_run_before(r->setup->router, &r->setup->call, &defined));
    const adamoe_routed_array *a = adamoe_routed_find(&r->routed, "logits");
    const adamoe_routed_array *b = adamoe_routed_find(&defined, "logits");
    for (size_t s = 0; s < r->setup->call.tokens; ++s) {
        *otherwise += !has_same_experts(r->routed.plan, defined.plan, s);
    }
    for (size_t i = 0; a != NULL && b != NULL && i < a->rows * a->columns; ++i) {
        *difference = fmax(*difference, fabs(a->number[i] - b->number[i]));
    }
    adamoe_routed_free(&defined);
    return adamoe_ok();
}

/*
 * What stands before the experts of a layer.
 */
#include "timing/router_step.h"
#include "machine/clock.h"
#include "model/plan_build.h"
#include "model/route.h"

#include <stdlib.h>

struct adamoe_router_step {
    const adamoe_kernel *kernel, *multiplier;
    const adamoe_host *host;
    adamoe_selection selection;
    adamoe_matrix matrix;
    adamoe_prepared_matrix *prepared;
    adamoe_run run;
    size_t tokens;
    adamoe_routing_space routing; /* the latest */
    adamoe_plan_space plan;
};

static bool multiplies_in_float32(const adamoe_kernel *kernel)
{
    return kernel->multiply != NULL && kernel->x == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
}

static adamoe_rule rule_of(adamoe_selection selection)
{
    return (adamoe_rule){
        .top_k = selection.mixture.top_k, .norm = ADAMOE_NORM_TRUE, .null_kind = selection.null_kind};
}

static adamoe_status make(adamoe_router_step *step, const float *rows, const adamoe_placement *placement)
{
    const adamoe_mixture mixture = step->selection.mixture;
    step->matrix = (adamoe_matrix){rows, ADAMOE_F32, mixture.experts + mixture.null_experts,
                                   step->selection.hidden_size};
    ADAMOE_TRY(adamoe_routing_space_begin(&step->routing, step->tokens, mixture.experts, mixture.null_experts,
                                          rule_of(step->selection)));
    ADAMOE_TRY(step->multiplier->prepare_matrix(step->host, &step->matrix, placement, &step->prepared));
    step->run.work_bytes = step->multiplier->matrix_work_bytes(step->prepared, step->tokens);
    step->run.work = step->host->allocate(step->host->context, step->run.work_bytes, 64);
    return step->run.work != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
}

adamoe_status adamoe_router_step_create(const adamoe_kernel *kernel, const adamoe_kernel *fallback,
                                        adamoe_selection selection, const float *rows, size_t tokens,
                                        const adamoe_team *team, const adamoe_host *host,
                                        const adamoe_placement *placement, adamoe_router_step **out)
{
    adamoe_router_step *step = calloc(1, sizeof *step);
    if (step == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    step->kernel = kernel;
    step->multiplier = multiplies_in_float32(kernel) ? kernel : fallback;
    step->host = host;
    step->selection = selection;
    step->run.team = team;
    step->tokens = tokens;
    const adamoe_status status = make(step, rows, placement);
    if (status.code != ADAMOE_OK) {
        adamoe_router_step_free(step);
        return status;
    }
    *out = step;
    return adamoe_ok();
}

void adamoe_router_step_free(adamoe_router_step *step)
{
    if (step == NULL) {
        return;
    }
    step->multiplier->release_matrix(step->prepared);
    step->host->release(step->host->context, step->run.work);
    adamoe_routing_space_free(&step->routing);
    adamoe_plan_space_free(&step->plan);
    free(step);
}

static adamoe_status route(adamoe_router_step *step, const float *x)
{
    adamoe_routing *routing = &step->routing.routing;
    ADAMOE_TRY(step->multiplier->multiply(step->prepared, &step->run, x, step->tokens, routing->logits));
    return (step->kernel->route != NULL ? step->kernel->route : adamoe_route)(&step->run, routing);
}

adamoe_status adamoe_router_step_run(adamoe_router_step *step, const float *x, const adamoe_plan **plan,
                                     adamoe_router_seconds *seconds)
{
    const double start = adamoe_now();
    ADAMOE_TRY(route(step, x));
    const double routed = adamoe_now();
    ADAMOE_TRY(adamoe_plan_build(step->run.team, &step->routing.routing, &step->plan));
    *plan = &step->plan.plan;
    seconds->route += routed - start;
    seconds->plan += adamoe_now() - routed;
    return adamoe_ok();
}

/* Among the selected: their order is that of the logits, which the router's own weights move a little. */
static bool selects(const adamoe_routing *routing, size_t token, uint32_t id)
{
    const size_t k = routing->rule.top_k;
    for (size_t j = 0; j < k; ++j) {
        if (routing->id[token * k + j] == id) {
            return true;
        }
    }
    return false;
}

adamoe_status adamoe_router_step_compare(const adamoe_router_step *step, const adamoe_routing *wanted)
{
    const size_t k = wanted->rule.top_k;
    for (size_t i = 0; i < wanted->tokens * k; ++i) {
        if (!selects(&step->routing.routing, i / k, wanted->id[i])) {
            return adamoe_error(ADAMOE_DIFFERENCE, "wrong routing of token %zu: expert %u is not selected",
                                i / k, wanted->id[i]);
        }
    }
    return adamoe_ok();
}

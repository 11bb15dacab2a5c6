/*
 * What stands before the experts of a layer.
 */
#include "router_step.h"
#include "clock.h"

#include <stdlib.h>
#include <string.h>

struct adamoe_router_step {
    const adamoe_kernel *multiplier, *router; /* router: NULL where the reference routes */
    const adamoe_host *host;
    adamoe_selection selection;
    float *rows; /* [n + m, hidden_size] */
    adamoe_matrix matrix;
    adamoe_prepared_matrix *prepared;
    adamoe_run run;
    size_t tokens;
    float *logits;           /* [tokens, n + m] */
    adamoe_routing *routing; /* the latest */
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

static adamoe_status route_by_reference(adamoe_router_step *step)
{
    adamoe_routing *routing = NULL;
    const adamoe_mixture mixture = step->selection.mixture;
    ADAMOE_TRY(adamoe_routing_create(step->logits, step->tokens, mixture.experts, mixture.null_experts,
                                     rule_of(step->selection), &routing));
    adamoe_routing_free(step->routing);
    step->routing = routing;
    return adamoe_ok();
}

static adamoe_status make(adamoe_router_step *step, uint64_t seed, const adamoe_placement *placement)
{
    const size_t all = step->selection.mixture.experts + step->selection.mixture.null_experts;
    const size_t d = step->selection.hidden_size;
    step->rows = malloc(all * d * sizeof *step->rows);
    step->logits = calloc(step->tokens * all + 1, sizeof *step->logits);
    if (step->rows == NULL || step->logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    adamoe_traffic_router(step->selection, seed, step->rows);
    step->matrix = (adamoe_matrix){step->rows, ADAMOE_F32, all, d};
    ADAMOE_TRY(step->multiplier->prepare_matrix(step->host, &step->matrix, placement, &step->prepared));
    step->run.work_bytes = step->multiplier->matrix_work_bytes(step->prepared, step->tokens);
    step->run.work = step->host->allocate(step->host->context, step->run.work_bytes, 64);
    if (step->run.work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    return route_by_reference(step); /* a routing of zeros, for its arrays */
}

adamoe_status adamoe_router_step_create(const adamoe_kernel *kernel, const adamoe_kernel *fallback,
                                        adamoe_selection selection, uint64_t seed, size_t tokens,
                                        const adamoe_team *team, const adamoe_host *host,
                                        const adamoe_placement *placement, adamoe_router_step **out)
{
    adamoe_router_step *step = calloc(1, sizeof *step);
    if (step == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    step->multiplier = multiplies_in_float32(kernel) ? kernel : fallback;
    step->router = kernel->route != NULL ? kernel : fallback->route != NULL ? fallback : NULL;
    step->host = host;
    step->selection = selection;
    step->run.team = team;
    step->tokens = tokens;
    const adamoe_status status = make(step, seed, placement);
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
    adamoe_routing_free(step->routing);
    free(step->rows);
    free(step->logits);
    free(step);
}

static adamoe_status route(adamoe_router_step *step, const float *x)
{
    float *logits = step->router != NULL ? step->routing->logits : step->logits;
    ADAMOE_TRY(step->multiplier->multiply(step->prepared, &step->run, x, step->tokens, logits));
    return step->router != NULL ? step->router->route(&step->run, step->routing) : route_by_reference(step);
}

adamoe_status adamoe_router_step_run(adamoe_router_step *step, const float *x, adamoe_plan **plan,
                                     adamoe_router_seconds *seconds)
{
    const double start = adamoe_now();
    ADAMOE_TRY(route(step, x));
    const double routed = adamoe_now();
    ADAMOE_TRY(adamoe_plan_create(step->routing, plan));
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
        if (!selects(step->routing, i / k, wanted->id[i])) {
            return adamoe_error(ADAMOE_DIFFERENCE, "wrong routing of token %zu: expert %u is not selected",
                                i / k, wanted->id[i]);
        }
    }
    return adamoe_ok();
}

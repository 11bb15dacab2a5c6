/*
 * One layer through the contract: prepare, router, routing, plan, experts.
 */
#include "layer_run.h"
#include "host.h"
#include "numbers.h"
#include "team.h"

#include <stdlib.h>

static adamoe_status join_router(adamoe_layer_run *run)
{
    const adamoe_layer *layer = run->layer;
    const size_t d = layer->hidden_size, all = layer->experts + layer->null_experts;
    run->router_rows = calloc(all * d + 1, sizeof *run->router_rows);
    if (run->router_rows == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    for (size_t i = 0; i < layer->experts * d; ++i) {
        run->router_rows[i] = adamoe_element(layer->gate.data, layer->gate.dtype, i);
    }
    for (size_t i = 0; i < layer->null_experts * d; ++i) {
        run->router_rows[layer->experts * d + i] = adamoe_element(layer->gate2.data, layer->gate2.dtype, i);
    }
    run->router = (adamoe_matrix){.data = run->router_rows, .dtype = ADAMOE_F32, .rows = all, .columns = d};
    return adamoe_ok();
}

/* Calls with the workspace that they need, and a team. */
typedef struct resources {
    adamoe_team *team;
    adamoe_run run;
    adamoe_placement placement;
} resources;

static adamoe_status reserve(resources *r, size_t bytes)
{
    free(r->run.work);
    r->run.work = adamoe_heap_host.allocate(NULL, bytes, 64);
    r->run.work_bytes = bytes;
    return r->run.work != NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory for %zu bytes", bytes);
}

static adamoe_status multiply_router(const adamoe_layer_run *run, resources *r, float *logits)
{
    const adamoe_kernel *kernel = run->kernel;
    adamoe_prepared_matrix *matrix = NULL;
    ADAMOE_TRY(kernel->prepare_matrix(&adamoe_heap_host, &run->router, &r->placement, &matrix));
    adamoe_status status = reserve(r, kernel->matrix_work_bytes(matrix, run->tokens));
    if (status.code == ADAMOE_OK) {
        status = kernel->multiply(matrix, &r->run, run->hidden_states, run->tokens, logits);
    }
    kernel->release_matrix(matrix);
    return status;
}

static adamoe_status route(adamoe_layer_run *run, resources *r, adamoe_rule rule)
{
    const size_t all = run->layer->experts + run->layer->null_experts;
    float *logits = calloc(run->tokens * all + 1, sizeof *logits);
    adamoe_status status =
        logits == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory") : adamoe_ok();
    if (status.code == ADAMOE_OK && run->kernel->multiply != NULL) {
        status = multiply_router(run, r, logits);
    } else if (status.code == ADAMOE_OK) {
        adamoe_router_logits(run->layer, run->hidden_states, run->tokens, logits);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_routing_create(logits, run->tokens, run->layer->experts, run->layer->null_experts,
                                       rule, &run->routing);
    }
    free(logits);
    return status;
}

static adamoe_status run_experts(adamoe_layer_run *run, resources *r)
{
    const adamoe_kernel *kernel = run->kernel;
    adamoe_prepared *prepared = NULL;
    run->output = calloc(run->tokens * run->layer->hidden_size + 1, sizeof *run->output);
    if (run->output == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
    }
    ADAMOE_TRY(kernel->prepare(&adamoe_heap_host, run->layer, &r->placement, &prepared));
    adamoe_status status = reserve(r, kernel->work_bytes(prepared, run->plan->rows, run->plan->tokens));
    if (status.code == ADAMOE_OK) {
        status = kernel->experts(prepared, &r->run, run->hidden_states, run->plan, run->output);
    }
    kernel->release(prepared);
    return status;
}

static adamoe_status run_steps(adamoe_layer_run *run, adamoe_rule rule, resources *r)
{
    ADAMOE_TRY(join_router(run));
    ADAMOE_TRY(route(run, r, rule));
    run->loss = adamoe_routing_balance_loss(run->routing, NULL);
    ADAMOE_TRY(adamoe_plan_create(run->routing, &run->plan));
    return run_experts(run, r);
}

adamoe_status adamoe_layer_run_create(const adamoe_kernel *kernel, const adamoe_layer *layer,
                                      adamoe_rule rule, const float *hidden_states, size_t tokens,
                                      uint32_t threads, adamoe_layer_run *out)
{
    *out = (adamoe_layer_run){
        .kernel = kernel, .layer = layer, .hidden_states = hidden_states, .tokens = tokens};
    resources r = {.placement = adamoe_one_node(threads)};
    ADAMOE_TRY(adamoe_team_create(threads, &r.team));
    r.run.team = r.team;
    const adamoe_status status = run_steps(out, rule, &r);
    if (status.code != ADAMOE_OK) {
        adamoe_layer_run_free(out);
    }
    free(r.run.work);
    adamoe_team_free(r.team);
    return status;
}

void adamoe_layer_run_free(adamoe_layer_run *run)
{
    free(run->router_rows);
    adamoe_routing_free(run->routing);
    adamoe_plan_free(run->plan);
    free(run->output);
    *run = (adamoe_layer_run){0};
}

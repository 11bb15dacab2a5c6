/*
 * One layer through the contract: prepare, router, routing, plan, experts.
 */
#include "layer/run.h"
#include "machine/host.h"
#include "router.h"
#include "plan.h"

#include <stdlib.h>

/* Calls with the workspace that they need, and the machine that they run on. */
typedef struct resources {
    const adamoe_machine *machine;
    adamoe_run run;
} resources;

static void release_work(resources *r)
{
    adamoe_heap_host.release(NULL, r->run.work);
    r->run.work = NULL;
}

static adamoe_status reserve(resources *r, size_t bytes)
{
    release_work(r);
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
    ADAMOE_TRY(kernel->prepare_matrix(&r->machine->host, &run->router, r->machine->placement, &matrix));
    adamoe_status status = reserve(r, kernel->matrix_work_bytes(matrix, run->tokens));
    if (status.code == ADAMOE_OK) {
        status = kernel->multiply(matrix, &r->run, run->hidden_states, run->tokens, logits);
    }
    kernel->release_matrix(matrix);
    return status;
}

/* Rounded operands are for the experts, not for the router (reference/README.md section 4): a kernel that
 * rounds does not make the logits. */
static bool multiplies_in_float32(const adamoe_kernel *kernel)
{
    return kernel->multiply != NULL && kernel->x == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
}

static adamoe_status route(adamoe_layer_run *run, resources *r, adamoe_rule rule)
{
    float *logits = calloc(run->tokens * run->router.rows + 1, sizeof *logits);
    adamoe_status status =
        logits == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory") : adamoe_ok();
    run->kernel_made_logits = multiplies_in_float32(run->kernel);
    if (status.code == ADAMOE_OK && run->kernel_made_logits) {
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

static adamoe_status call_experts(const adamoe_kernel *kernel, adamoe_prepared *prepared, resources *r,
                                  const float *x, const adamoe_plan *plan, float *y)
{
    ADAMOE_TRY(reserve(r, kernel->work_bytes(prepared, plan->rows, plan->tokens)));
    return kernel->experts(prepared, &r->run, x, plan, y);
}

adamoe_status adamoe_layer_run_experts(const adamoe_kernel *kernel, const adamoe_layer *layer,
                                       const adamoe_machine *machine, const float *x, const adamoe_plan *plan,
                                       float **y)
{
    resources r = {.machine = machine, .run = {.team = machine->team}};
    adamoe_prepared *prepared = NULL;
    *y = calloc(plan->tokens * layer->hidden_size + 1, sizeof **y);
    if (*y == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
    }
    ADAMOE_TRY(kernel->prepare(&machine->host, layer, machine->placement, &prepared));
    const adamoe_status status = call_experts(kernel, prepared, &r, x, plan, *y);
    kernel->release(prepared);
    release_work(&r);
    return status;
}

static adamoe_status run_steps(adamoe_layer_run *run, adamoe_rule rule, resources *r)
{
    ADAMOE_TRY(adamoe_router_matrix(run->layer, &run->router_rows, &run->router));
    ADAMOE_TRY(route(run, r, rule));
    run->loss = adamoe_routing_balance_loss(run->routing, NULL);
    ADAMOE_TRY(adamoe_plan_create(run->routing, &run->plan));
    return adamoe_layer_run_experts(run->kernel, run->layer, r->machine, run->hidden_states, run->plan,
                                    &run->output);
}

adamoe_status adamoe_layer_run_create(const adamoe_kernel *kernel, const adamoe_layer *layer,
                                      adamoe_rule rule, const float *hidden_states, size_t tokens,
                                      const adamoe_machine *machine, adamoe_layer_run *out)
{
    *out = (adamoe_layer_run){
        .kernel = kernel, .layer = layer, .hidden_states = hidden_states, .tokens = tokens};
    resources r = {.machine = machine, .run = {.team = machine->team}};
    const adamoe_status status = run_steps(out, rule, &r);
    if (status.code != ADAMOE_OK) {
        adamoe_layer_run_free(out);
    }
    release_work(&r);
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

/*
 * What a router's matrices cost in a kernel: the logits of its gate, and MEMoE's frozen base.
 */
#include "routers/products.h"
#include "machine/clock.h"
#include "machine/host.h"
#include "numbers.h"
#include "router.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "routers: out of memory");
}

static const adamoe_matrix *find(const adamoe_router_setup *setup, const char *name)
{
    for (size_t i = 0; i < setup->call.tensors; ++i) {
        if (strcmp(setup->tensor[i].name, name) == 0) {
            return &setup->tensor[i].matrix;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------- gate */

void adamoe_gate_product_free(adamoe_gate_product *product)
{
    if (product->prepared != NULL) {
        product->kernel->release_matrix(product->prepared);
    }
    free(product->matrix);
    free(product->joined);
    free(product->logits);
    *product = (adamoe_gate_product){.kernel = NULL};
}

static void copy_rows(const adamoe_matrix *from, float *to)
{
    for (size_t i = 0; i < from->rows * from->columns; ++i) {
        to[i] = adamoe_element(from->data, from->dtype, i);
    }
}

/* R(x) = [x; a] of MEMoE. */
static adamoe_status join_anchors(const adamoe_router_setup *setup, adamoe_gate_product *p)
{
    const adamoe_matrix *anchors = find(setup, "router.anchors"), *ids = find(setup, "router.anchor_id");
    const size_t d = setup->call.hidden_size, width = p->columns - d;
    p->joined = calloc(p->tokens * p->columns, sizeof *p->joined);
    if (p->joined == NULL) {
        return no_memory();
    }
    p->x = p->joined;
    for (size_t s = 0; s < p->tokens; ++s) {
        int64_t id;
        memcpy(&id, (const char *)ids->data + s * sizeof id, sizeof id);
        memcpy(p->joined + s * p->columns, setup->call.hidden_states + s * d, d * sizeof *p->joined);
        for (size_t c = 0; id >= 0 && c < width; ++c) {
            p->joined[s * p->columns + d + c] =
                adamoe_element(anchors->data, anchors->dtype, (size_t)id * width + c);
        }
    }
    return adamoe_ok();
}

static adamoe_status fill(const adamoe_router_setup *setup, const adamoe_matrix *gate,
                          const adamoe_matrix *gate2, adamoe_gate_product *p)
{
    p->matrix = calloc(p->rows * p->columns, sizeof *p->matrix);
    p->logits = calloc(p->tokens * p->rows, sizeof *p->logits);
    if (p->matrix == NULL || p->logits == NULL) {
        return no_memory();
    }
    copy_rows(gate, p->matrix);
    if (gate2 != NULL) {
        copy_rows(gate2, p->matrix + gate->rows * p->columns);
    }
    if (p->columns > setup->call.hidden_size) {
        ADAMOE_TRY(join_anchors(setup, p));
    }
    const adamoe_matrix matrix = {p->matrix, ADAMOE_F32, p->rows, p->columns};
    return p->kernel->prepare_matrix(&p->machine->host, &matrix, p->machine->placement, &p->prepared);
}

adamoe_status adamoe_gate_product_create(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                                         const adamoe_machine *machine, bool *exists,
                                         adamoe_gate_product *out)
{
    const adamoe_matrix *gate = find(setup, "block_sparse_moe.gate.weight");
    const adamoe_matrix *gate2 = find(setup, "block_sparse_moe.gate2.weight");
    *exists = gate != NULL && kernel->multiply != NULL && kernel->x == ADAMOE_FLOAT32 &&
              kernel->weight == ADAMOE_FLOAT32;
    *out = (adamoe_gate_product){.kernel = kernel};
    if (!*exists) {
        return adamoe_ok();
    }
    *out = (adamoe_gate_product){.kernel = kernel,
                                 .machine = machine,
                                 .tokens = setup->call.tokens,
                                 .rows = gate->rows + (gate2 == NULL ? 0 : gate2->rows),
                                 .columns = gate->columns,
                                 .x = setup->call.hidden_states};
    const adamoe_status status = fill(setup, gate, gate2, out);
    if (status.code != ADAMOE_OK) {
        adamoe_gate_product_free(out);
    }
    return status;
}

adamoe_status adamoe_gate_product_run(adamoe_gate_product *p, double *seconds)
{
    const size_t bytes = p->kernel->matrix_work_bytes(p->prepared, p->tokens);
    adamoe_run run = {
        .team = p->machine->team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    if (run.work == NULL) {
        return no_memory();
    }
    const double start = adamoe_now();
    const adamoe_status status = p->kernel->multiply(p->prepared, &run, p->x, p->tokens, p->logits);
    *seconds += adamoe_now() - start;
    adamoe_heap_host.release(NULL, run.work);
    return status;
}

/* ---------------------------------------------------------------------------------------------------- base */

/* One expert, which every token has with weight 1. */
static adamoe_status run_dense(const adamoe_kernel *kernel, const adamoe_machine *machine,
                               const adamoe_layer *layer, const adamoe_router_setup *setup, float *y,
                               double *seconds)
{
    adamoe_routing *routing = NULL;
    adamoe_plan *plan = NULL;
    adamoe_prepared *prepared = NULL;
    float *logits = calloc(setup->call.tokens, sizeof *logits);
    if (logits == NULL) {
        return no_memory();
    }
    adamoe_status status =
        adamoe_routing_create(logits, setup->call.tokens, 1, 0, (adamoe_rule){.top_k = 1}, &routing);
    free(logits);
    ADAMOE_TRY(status);
    status = adamoe_plan_create(routing, &plan);
    adamoe_routing_free(routing);
    ADAMOE_TRY(status);
    status = kernel->prepare(&machine->host, layer, machine->placement, &prepared);
    if (status.code == ADAMOE_OK) {
        const size_t bytes = kernel->work_bytes(prepared, plan->rows, plan->tokens);
        adamoe_run run = {
            .team = machine->team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
        status = run.work == NULL ? no_memory() : adamoe_ok();
        for (size_t i = 0; i < 2 && status.code == ADAMOE_OK; ++i) {
            const double start = adamoe_now();
            status = kernel->experts(prepared, &run, setup->call.hidden_states, plan, y);
            *seconds = adamoe_now() - start;
        }
        adamoe_heap_host.release(NULL, run.work);
        kernel->release(prepared);
    }
    adamoe_plan_free(plan);
    return status;
}

adamoe_status adamoe_run_base(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                              const adamoe_machine *machine, bool *exists, float *y, double *seconds)
{
    const adamoe_matrix *w1 = find(setup, "mlp.gate_proj.weight"), *w3 = find(setup, "mlp.up_proj.weight");
    const adamoe_matrix *w2 = find(setup, "mlp.down_proj.weight");
    *exists = w1 != NULL && w3 != NULL && w2 != NULL;
    *seconds = 0.0;
    if (!*exists) {
        return adamoe_ok();
    }
    const adamoe_expert expert = {.w1 = *w1, .w3 = *w3, .w2 = *w2};
    const adamoe_layer layer = {.hidden_size = setup->call.hidden_size,
                                .intermediate_size = w1->rows,
                                .experts = 1,
                                .gate = {.dtype = ADAMOE_F32, .columns = setup->call.hidden_size},
                                .gate2 = {.dtype = ADAMOE_F32, .columns = setup->call.hidden_size},
                                .expert = &expert};
    return run_dense(kernel, machine, &layer, setup, y, seconds);
}

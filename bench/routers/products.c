/*
 * What a router's matrices cost in a kernel.
 */
#include "routers/products.h"
#include "machine/clock.h"
#include "machine/host.h"
#include "numbers.h"
#include "router.h"
#include "plan.h"
#include "routers/model/model_router.h"

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

static bool has_float32_product(const adamoe_kernel *kernel)
{
    return kernel->multiply != NULL && kernel->x == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
}

adamoe_status adamoe_gate_product_create(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                                         const adamoe_machine *machine, bool *exists,
                                         adamoe_gate_product *out)
{
    const adamoe_matrix *phi = find(setup, "router.phi");
    const adamoe_matrix *gate = phi != NULL ? phi : find(setup, "block_sparse_moe.gate.weight");
    const adamoe_matrix *gate2 = phi != NULL ? NULL : find(setup, "block_sparse_moe.gate2.weight");
    const bool is_read = phi != NULL || adamoe_router_has_gate(setup->router);
    *exists = gate != NULL && is_read && has_float32_product(kernel);
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

/* y = x . matrix^T, in a workspace of its own. */
static adamoe_status multiply(const adamoe_kernel *kernel, const adamoe_machine *machine,
                              adamoe_prepared_matrix *prepared, const float *x, size_t count, float *y,
                              double *seconds)
{
    const size_t bytes = kernel->matrix_work_bytes(prepared, count);
    adamoe_run run = {
        .team = machine->team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    if (run.work == NULL) {
        return no_memory();
    }
    const double start = adamoe_now();
    const adamoe_status status = kernel->multiply(prepared, &run, x, count, y);
    *seconds += adamoe_now() - start;
    adamoe_heap_host.release(NULL, run.work);
    return status;
}

adamoe_status adamoe_gate_product_run(adamoe_gate_product *p, double *seconds)
{
    return multiply(p->kernel, p->machine, p->prepared, p->x, p->tokens, p->logits, seconds);
}

/* --------------------------------------------------------------------------------------------------- slots */

/* D^T and x^T, whose product X~ = D^T x is. */
typedef struct mixing {
    float *dispatch; /* [slots, tokens] */
    float *states;   /* [hidden_size, tokens] */
} mixing;

static adamoe_status transpose(const adamoe_router_setup *setup, const double *dispatch, size_t slots,
                               mixing *m)
{
    const size_t S = setup->call.tokens, d = setup->call.hidden_size;
    m->dispatch = calloc(slots * S, sizeof *m->dispatch);
    m->states = calloc(d * S, sizeof *m->states);
    if (m->dispatch == NULL || m->states == NULL) {
        return no_memory();
    }
    for (size_t s = 0; s < S; ++s) {
        for (size_t q = 0; q < slots; ++q) {
            m->dispatch[q * S + s] = (float)dispatch[s * slots + q];
        }
        for (size_t c = 0; c < d; ++c) {
            m->states[c * S + s] = setup->call.hidden_states[s * d + c];
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_mix_slots(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                               const adamoe_machine *machine, adamoe_routed *routed, double *seconds)
{
    const size_t S = setup->call.tokens, d = setup->call.hidden_size, slots = routed->plan->inputs;
    const double start = adamoe_now();
    double product = 0.0; /* within the time from start */
    mixing m = {.dispatch = NULL};
    adamoe_prepared_matrix *prepared = NULL;
    routed->inputs = calloc(slots * d, sizeof *routed->inputs);
    adamoe_status status = routed->inputs == NULL
                               ? no_memory()
                               : transpose(setup, adamoe_routed_find(routed, "dispatch")->number, slots, &m);
    if (status.code == ADAMOE_OK) {
        const adamoe_matrix states = {m.states, ADAMOE_F32, d, S};
        status = kernel->prepare_matrix(&machine->host, &states, machine->placement, &prepared);
    }
    if (status.code == ADAMOE_OK) {
        status = multiply(kernel, machine, prepared, m.dispatch, slots, routed->inputs, &product);
        kernel->release_matrix(prepared);
    }
    free(m.dispatch);
    free(m.states);
    *seconds += adamoe_now() - start;
    return status;
}

/* ---------------------------------------------------------------------------------------------------- base */

static adamoe_status plan_for_all(size_t tokens, adamoe_plan **plan)
{
    adamoe_routing *routing = NULL;
    float *logits = calloc(tokens, sizeof *logits);
    if (logits == NULL) {
        return no_memory();
    }
    adamoe_status status = adamoe_routing_create(logits, tokens, 1, 0, (adamoe_rule){.top_k = 1}, &routing);
    free(logits);
    ADAMOE_TRY(status);
    status = adamoe_plan_create(routing, plan);
    adamoe_routing_free(routing);
    return status;
}

adamoe_status adamoe_frozen_base_create(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                                        const adamoe_machine *machine, bool *exists, adamoe_frozen_base *out)
{
    const adamoe_matrix *w1 = find(setup, "mlp.gate_proj.weight"), *w3 = find(setup, "mlp.up_proj.weight");
    const adamoe_matrix *w2 = find(setup, "mlp.down_proj.weight");
    *exists = w1 != NULL && w3 != NULL && w2 != NULL;
    *out = (adamoe_frozen_base){.kernel = kernel, .machine = machine};
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
    ADAMOE_TRY(plan_for_all(setup->call.tokens, &out->plan));
    const adamoe_status status = kernel->prepare(&machine->host, &layer, machine->placement, &out->prepared);
    if (status.code != ADAMOE_OK) {
        out->prepared = NULL;
        adamoe_frozen_base_free(out);
    }
    return status;
}

void adamoe_frozen_base_free(adamoe_frozen_base *base)
{
    if (base->prepared != NULL) {
        base->kernel->release(base->prepared);
    }
    adamoe_plan_free(base->plan);
    *base = (adamoe_frozen_base){.kernel = NULL};
}

adamoe_status adamoe_frozen_base_run(const adamoe_frozen_base *base, const float *x, float *y,
                                     double *seconds)
{
    const size_t bytes = base->kernel->work_bytes(base->prepared, base->plan->rows, base->plan->tokens);
    adamoe_run run = {
        .team = base->machine->team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    if (run.work == NULL) {
        return no_memory();
    }
    const double start = adamoe_now();
    const adamoe_status status = base->kernel->experts(base->prepared, &run, x, base->plan, y);
    *seconds += adamoe_now() - start;
    adamoe_heap_host.release(NULL, run.work);
    return status;
}

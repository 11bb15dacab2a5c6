/*
 * What a router's matrices cost in a kernel: the logits of its gate or of Soft MoE's slots, the mixing of those, and
 * MEMoE's frozen base.
 */
#ifndef ADAMOE_ROUTERS_PRODUCTS_H
#define ADAMOE_ROUTERS_PRODUCTS_H

#include "layers/router_setup.h"
#include "program/machine.h"

/* A gate (or router.phi, where slots have rows in place of a gate's) prepared for a kernel, with the inputs of its
 * product. */
typedef struct adamoe_gate_product {
    const adamoe_kernel *kernel;
    const adamoe_machine *machine;
    size_t tokens, rows, columns;
    float *matrix;  /* [rows, columns] gate, then gate2 */
    float *joined;  /* [tokens, columns] where the gate reads more than the hidden states, or NULL */
    const float *x; /* joined, or the hidden states */
    float *logits;  /* [tokens, rows] */
    adamoe_prepared_matrix *prepared;
} adamoe_gate_product;

/* *exists is false, and nothing is made, where the router has no gate or the kernel no float32 product: then the
 * definition computes what is needed. Errors: memory, those of the kernel. */
adamoe_status adamoe_gate_product_create(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                                         const adamoe_machine *machine, bool *exists,
                                         adamoe_gate_product *out);
void adamoe_gate_product_free(adamoe_gate_product *product);

/* Fills product->logits. *seconds is added to. */
adamoe_status adamoe_gate_product_run(adamoe_gate_product *product, double *seconds);

/* routed->inputs = D^T x of Soft MoE by a kernel with a float32 product, in place of the definition's: both matrices are
 * of this batch, so that preparing them is a part of the time. *seconds is added to. */
adamoe_status adamoe_mix_slots(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                               const adamoe_machine *machine, adamoe_routed *routed, double *seconds);

/* MEMoE's frozen base as a layer of one expert, which every token has with weight 1. */
typedef struct adamoe_frozen_base {
    const adamoe_kernel *kernel;
    const adamoe_machine *machine;
    adamoe_prepared *prepared;
    adamoe_plan *plan;
} adamoe_frozen_base;

/* *exists is false, and nothing is made, where the router reads none. Errors: memory, those of the kernel. */
adamoe_status adamoe_frozen_base_create(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                                        const adamoe_machine *machine, bool *exists, adamoe_frozen_base *out);
void adamoe_frozen_base_free(adamoe_frozen_base *base);

/* y [tokens, hidden_size] = base(x). *seconds is added to. */
adamoe_status adamoe_frozen_base_run(const adamoe_frozen_base *base, const float *x, float *y,
                                     double *seconds);

#endif

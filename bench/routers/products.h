/*
 * What a router's matrices cost in a kernel: the logits of its gate, and MEMoE's frozen base.
 */
#ifndef ADAMOE_ROUTERS_PRODUCTS_H
#define ADAMOE_ROUTERS_PRODUCTS_H

#include "layers/router_setup.h"
#include "program/machine.h"

/* A gate prepared for a kernel, with the inputs of its product. */
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

/* base(x) of MEMoE by the kernel, y [tokens, hidden_size]; *exists is false where the router reads none. *seconds is
 * that of the second of two calls. */
adamoe_status adamoe_run_base(const adamoe_router_setup *setup, const adamoe_kernel *kernel,
                              const adamoe_machine *machine, bool *exists, float *y, double *seconds);

#endif

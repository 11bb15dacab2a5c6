/*
 * One router on the tokens of one layer, to be timed: its routing, and the layer with what it routed.
 *
 * The logits are the kernel's where it has a float32 product, and so are Soft MoE's slots and MEMoE's base; the rule is
 * the definition's, on one thread. Left out: a rule that is faster than that.
 */
#ifndef ADAMOE_ROUTERS_TIMED_ROUTER_H
#define ADAMOE_ROUTERS_TIMED_ROUTER_H

#include "routers/products.h"

typedef struct adamoe_timed_router {
    adamoe_router_setup *setup;
    const adamoe_kernel *kernel;
    const adamoe_machine *machine;
    adamoe_prepared *prepared; /* the layer */
    bool kernel_made_logits;   /* false: they are part of the rule, in double, or there is no gate */
    bool has_base;
    adamoe_gate_product product;
    adamoe_frozen_base base;
    adamoe_routed routed; /* of the latest routing */
    float *y,
        *of_base; /* [tokens, hidden_size]; the layer's with what is added behind the kernel; the base's */
} adamoe_timed_router;

/* The setup and the prepared layer are the caller's and stay where they are. Errors: memory, those of the kernel. On an
 * error nothing is left. */
adamoe_status adamoe_timed_router_open(adamoe_router_setup *setup, const adamoe_kernel *kernel,
                                       const adamoe_machine *machine, adamoe_prepared *prepared,
                                       adamoe_timed_router *out);
void adamoe_timed_router_close(adamoe_timed_router *router);

/* From hidden states to a plan and its inputs: router->routed. Errors: of the router (BAD_INPUT); memory. */
adamoe_status adamoe_timed_router_route(adamoe_timed_router *router, double *seconds);

/* router->y by the kernel, of the latest routing. Errors: of the kernel; memory. */
adamoe_status adamoe_timed_router_run(adamoe_timed_router *router, double *seconds);

/* Against the definition, whose logits are in double: tokens that got other experts, and the largest difference of a
 * logit. Both are 0 where the logits were the definition's anyway, or the router selects nothing (Soft MoE). */
adamoe_status adamoe_timed_router_compare(const adamoe_timed_router *router, size_t *otherwise,
                                          double *difference);

#endif

/*
 * A router of the table ready to run on given tokens: the tensors and parameters that nobody has given it yet. What
 * training would make is random or empty, so that routers can be run side by side before anybody trains them.
 */
#ifndef ADAMOE_LAYERS_ROUTER_SETUP_H
#define ADAMOE_LAYERS_ROUTER_SETUP_H

#include "adamoe.h"
#include "routers/routers.h"

/* The tokens, and what a layer has for every router. */
typedef struct adamoe_router_subject {
    size_t tokens;
    size_t top_k;              /* k0: true experts that a token is meant to have */
    const float *x;            /* [tokens, hidden_size] */
    const adamoe_layer *layer; /* its gate is the router's; one without rows is drawn */
    uint64_t seed;
} adamoe_router_subject;

#define ADAMOE_SETUP_TENSORS 16

typedef struct adamoe_router_setup {
    const adamoe_router *router;
    adamoe_router_call call;
    adamoe_router_tensor tensor[ADAMOE_SETUP_TENSORS];
    void *memory[ADAMOE_SETUP_TENSORS]; /* of those that were made */
    size_t blocks;
} adamoe_router_setup;

/* Where top_k true experts are meant: token choice takes as many, expert choice has capacity for them, a router
 * with null experts selects twice as many among as many null rows as true ones. A gate has the deviation
 * 1 / sqrt(d); a bias is 0; two nodes hold tokens in two runs. Parameters that no rule here knows keep their
 * defaults. The setup may not move while it is in use. Errors: memory. */
adamoe_status adamoe_router_setup_create(const adamoe_router *router, const adamoe_router_subject *subject,
                                         adamoe_router_setup *out);
/* Those parameters, and the rows of gate2 that go with them, without anything else; the second one for whole models,
 * which have no constant experts: moe_plus_plus gets another zero expert in place of each. */
void adamoe_router_usual_parameters(const adamoe_router *router, size_t top_k, size_t experts,
                                    double value[ADAMOE_ROUTER_PARAMETERS]);
void adamoe_router_usual_model_parameters(const adamoe_router *router, size_t top_k, size_t experts,
                                          double value[ADAMOE_ROUTER_PARAMETERS]);
size_t adamoe_router_usual_null_rows(const adamoe_router *router, size_t experts);

void adamoe_router_setup_free(adamoe_router_setup *setup);

#endif

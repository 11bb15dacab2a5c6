/*
 * What a layer file gives a router: its parameters from __metadata__, its tensors by name.
 */
#ifndef ADAMOE_ROUTER_INPUTS_H
#define ADAMOE_ROUTER_INPUTS_H

#include "checkpoint.h"
#include "routers/routers.h"

/* `call` points into the file and into `tensor`. */
typedef struct adamoe_router_inputs {
    const adamoe_router *router;
    adamoe_router_tensor *tensor;
    adamoe_router_call call;
} adamoe_router_inputs;

/* Of a file that names a router. The caller frees the result. Errors (BAD_INPUT, "FILE: place: reason"): no such
 * router, a key of __metadata__ that it does not take, a tensor of more than two dimensions; memory. */
adamoe_status adamoe_router_inputs_create(const adamoe_layer_file *file, adamoe_router_inputs *out);
void adamoe_router_inputs_free(adamoe_router_inputs *inputs);

/* Runs the router. Errors are those of adamoe_router_run, with the file's name before them, and a tensor for the router
 * that it did not read: it would have changed the result. */
adamoe_status adamoe_router_inputs_route(const adamoe_layer_file *file, adamoe_router_inputs *inputs,
                                         adamoe_routed *out);

#endif

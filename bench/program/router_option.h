/*
 * --router NAME and --set PARAMETER=VALUE, for verbs that run a whole model.
 */
#ifndef ADAMOE_PROGRAM_ROUTER_OPTION_H
#define ADAMOE_PROGRAM_ROUTER_OPTION_H

#include "program/selection.h"
#include "routers/model/model_router.h"

#define ADAMOE_ROUTER_SETTINGS 12

/* Zeros: nothing was given. */
typedef struct adamoe_router_option {
    const adamoe_router *router;
    const char *set[ADAMOE_ROUTER_SETTINGS];
    size_t settings;
} adamoe_router_option;

/* The two options. Their input is an adamoe_router_option of zeros. */
extern const struct argp adamoe_router_argp;

/* The router for a model of that config, whose null_experts are then the rows of gate2, with its usual parameters
 * (layers/router_setup.h) for k0 = top_k, changed as was asked. Errors (BAD_INPUT): a dense model; options of selection
 * beside it, which are parameters of the router; those of adamoe_model_router_create; "--set: ...". */
adamoe_status adamoe_router_option_create(const adamoe_router_option *option,
                                          const adamoe_selection_options *selection, const adamoe_config *config,
                                          size_t top_k, adamoe_model_router *out);

#endif

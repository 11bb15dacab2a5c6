/*
 * router.json of a folder: the router of the table that its model was trained with, in the place of the rule of
 * config.json.
 *
 *   {"router": "longcat", "parameters": {"top_k": 4, "rate": 0.01, ...}, "state": [[0.0125, ...], ...]}
 *
 * A choice is its name. `state` has a list for each layer: the bias of each id, or lambda; none where the router
 * remembers nothing.
 */
#ifndef ADAMOE_ROUTER_FILE_H
#define ADAMOE_ROUTER_FILE_H

#include "model.h"
#include "routers/model/model_router.h"

#include <jansson.h>

/* True where the folder has such a file. */
bool adamoe_router_file_in(const char *folder);

/* Reads it for a model of that config. Errors (BAD_INPUT, "FILE: key: reason"): no such router or parameter; a state of
 * another shape, or that is not finite. The caller frees *out. */
adamoe_status adamoe_router_file_read(const char *folder, const adamoe_config *config,
                                      adamoe_model_router *out);

/* The file's content; NULL for want of memory. */
json_t *adamoe_router_file_json(const adamoe_model_router *router);

#endif

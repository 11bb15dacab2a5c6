/*
 * What the kinds that compute the experts of a layer have in common, forward and backward: names, limits,
 * kinds of routing, a few shapes, thin cases.
 */
#ifndef ADAMOE_CHECK_KINDS_LAYER_CASES_H
#define ADAMOE_CHECK_KINDS_LAYER_CASES_H

#include "check/cases/case_list.h"

/* "/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:skewed/weights:bf16" */
void adamoe_layer_case_print(const adamoe_case *c, adamoe_case_name *name);
bool adamoe_layer_case_parse(const char *text, adamoe_case *c);
bool adamoe_layer_case_fits(const adamoe_case *c);

/* A kind of routing with its numbers of experts, because not all of them fit together. */
typedef struct adamoe_routing_kind {
    adamoe_mixture mixture;
    adamoe_pattern pattern;
    adamoe_null_kind null_kind;
    bool dispatch;
} adamoe_routing_kind;

/* The last of them scales its inputs, which no plan of a routing does. */
#define ADAMOE_ROUTING_KINDS 17
extern const adamoe_routing_kind adamoe_routing_kinds[ADAMOE_ROUTING_KINDS];

/* The types of stored weights. */
#define ADAMOE_CASE_DTYPES 3
extern const adamoe_dtype adamoe_case_dtypes[ADAMOE_CASE_DTYPES];

/* A few shapes for what takes many calls: odd ones, one within a tile, one of several, one
 * with many rows. */
#define ADAMOE_SMALL_LAYERS 8
extern const adamoe_case adamoe_small_layers[ADAMOE_SMALL_LAYERS];

/* Every value of a gate from -104 to 104 that matters, ADAMOE_MAGNITUDE_SWEEP: alone, and in a vector. Errors:
 * memory. */
adamoe_status adamoe_list_sweeps(adamoe_case_list *list);

/* What the small layers lack for ADAMOE_PROPERTY_POISONED_TOKEN. Errors: memory. */
adamoe_status adamoe_list_poisoned(adamoe_case_list *list);

/* Thin cases, check/cases/thin.h, of the list's tier: both sizes of an expert, the inputs of one expert, every
 * number of them from 1, many experts, many of one token. `tiles` may be NULL. Errors: memory. */
adamoe_status adamoe_list_thin_layers(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive);

#endif

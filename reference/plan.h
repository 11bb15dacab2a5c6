/*
 * The plan of a routing: which rows each expert computes, and where they go.
 */
#ifndef ADAMOE_PLAN_H
#define ADAMOE_PLAN_H

#include "adamoe.h"

/* Turns a routing round, by expert: a stable counting sort in O(rows + experts), so that the rows of an
 * expert are in the order of their tokens. Errors: more rows than 32 bits count; memory. */
adamoe_status adamoe_plan_create(const adamoe_routing *routing, adamoe_plan **out);
void adamoe_plan_free(adamoe_plan *plan);

/* The expert whose rows include `row`. */
size_t adamoe_plan_expert(const adamoe_plan *plan, size_t row);

#endif

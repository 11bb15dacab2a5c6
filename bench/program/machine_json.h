/*
 * Nodes, placement and memory as JSON.
 */
#ifndef ADAMOE_PROGRAM_MACHINE_JSON_H
#define ADAMOE_PROGRAM_MACHINE_JSON_H

#include "program/machine.h"

#include <jansson.h>

/* An array of the nodes: processors, memory, distances. */
json_t *adamoe_topology_json(const adamoe_topology *topology);

/* How the system is set to give huge pages. */
json_t *adamoe_huge_pages_json(void);

/* Policy, nodes, the node of each thread, and where the pages of the weights were found. */
json_t *adamoe_machine_json(const adamoe_machine *machine);

#endif

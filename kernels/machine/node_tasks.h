/*
 * Tasks shared out among the threads of a team by the NUMA node that their data are on.
 */
#ifndef ADAMOE_MACHINE_NODE_TASKS_H
#define ADAMOE_MACHINE_NODE_TASKS_H

#include "machine/placement.h"

/* Calls task(context, i, thread) once for each i < first[nodes], where the tasks first[n] .. first[n+1]-1
 * belong to node n; `first` has nodes + 1 elements and starts at 0. A thread takes the tasks of its own node
 * first, in ascending order. Then it helps the other nodes: under experts and split, where a node's weights
 * are read by its own threads, only those of which no thread has turned up. Which thread runs a task is left
 * to chance, so a result must not depend on it. The team is one of at most placement->threads threads, the
 * placement one of at most ADAMOE_MAX_NODES nodes. */
void adamoe_run_by_node(const adamoe_team *team, const adamoe_placement *placement, const size_t *first,
                        void (*task)(void *context, size_t i, uint32_t thread), void *context);

#endif

/*
 * Where the ranks of a run are: machine, NUMA nodes, processors.
 */
#ifndef ADAMOE_RANKS_LAYOUT_H
#define ADAMOE_RANKS_LAYOUT_H

#include "machine/topology.h"
#include "mpi/world.h"

#include <jansson.h>

typedef struct adamoe_rank_place {
    char machine[64];
    uint32_t processors, nodes; /* that the rank may use */
    char cpus[128];             /* of each node, as --numa-topology takes them */
} adamoe_rank_place;

/* list [ranks], on rank 0. */
adamoe_status adamoe_rank_places_gather(const adamoe_world *world, const adamoe_topology *topology,
                                        adamoe_rank_place *list);

/* A line for each, and one where ranks share a machine's node without need. */
void adamoe_rank_places_print(const adamoe_rank_place *list, uint32_t ranks, const char *mpi);
json_t *adamoe_rank_places_json(const adamoe_rank_place *list, uint32_t ranks, const char *mpi);

#endif

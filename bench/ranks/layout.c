/*
 * Where the ranks of a run are: see layout.h.
 */
#include "ranks/layout.h"
#include "machine/team.h"
#include "program/json_output.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

adamoe_status adamoe_rank_places_gather(const adamoe_world *world, const adamoe_topology *topology,
                                        adamoe_rank_place *list)
{
    adamoe_rank_place own = {.processors = adamoe_available_processors(), .nodes = topology->nodes};
    (void)gethostname(own.machine, sizeof own.machine - 1);
    adamoe_topology_describe(topology, own.cpus, sizeof own.cpus);
    return adamoe_world_gather(world, &own, sizeof own, list);
}

/* Ranks whose processors are those of another rank on the same machine. */
static uint32_t count_sharing(const adamoe_rank_place *list, uint32_t ranks)
{
    uint32_t sharing = 0;
    for (uint32_t r = 0; r < ranks; ++r) {
        bool shares = false;
        for (uint32_t o = 0; o < ranks && !shares; ++o) {
            shares = o != r && strcmp(list[o].machine, list[r].machine) == 0 &&
                     strcmp(list[o].cpus, list[r].cpus) == 0;
        }
        sharing += shares;
    }
    return sharing;
}

void adamoe_rank_places_print(const adamoe_rank_place *list, uint32_t ranks, const char *mpi)
{
    printf("ranks     %u (%s); one on each NUMA node is the layout to begin with\n", ranks, mpi);
    for (uint32_t r = 0; r < ranks; ++r) {
        printf("    %4u  %s: %u processor%s on %u node%s (%s)\n", r, list[r].machine, list[r].processors,
               list[r].processors == 1 ? "" : "s", list[r].nodes, list[r].nodes == 1 ? "" : "s",
               list[r].cpus);
    }
    const uint32_t sharing = count_sharing(list, ranks);
    if (sharing > 0) {
        printf(
            "          %u ranks have the same processors as others: bind them (mpirun --map-by numa --bind-to numa), or "
            "give each --threads\n",
            sharing);
    }
}

json_t *adamoe_rank_places_json(const adamoe_rank_place *list, uint32_t ranks, const char *mpi)
{
    json_t *places = json_array();
    for (uint32_t r = 0; r < ranks; ++r) {
        json_array_append_new(places,
                              json_pack("{s:o,s:I,s:I,s:o}", "machine", adamoe_json_text(list[r].machine),
                                        "processors", (json_int_t)list[r].processors, "nodes",
                                        (json_int_t)list[r].nodes, "cpus", adamoe_json_text(list[r].cpus)));
    }
    return json_pack("{s:I,s:o,s:I,s:o}", "ranks", (json_int_t)ranks, "mpi", adamoe_json_text(mpi),
                     "sharing_processors", (json_int_t)count_sharing(list, ranks), "by_rank", places);
}

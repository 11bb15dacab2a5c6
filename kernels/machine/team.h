/*
 * A team of worker threads, pinned to the processors of NUMA nodes or free. Between calls its threads spin
 * for some tens of microseconds and then sleep: calls that follow each other closely cost little, and a team
 * that is not used takes no processor from whatever else runs.
 */
#ifndef ADAMOE_MACHINE_TEAM_H
#define ADAMOE_MACHINE_TEAM_H

#include "machine/topology.h"

/* Starts threads - 1 workers, not pinned; the calling thread is the remaining one, thread 0. Tasks are taken
 * in ascending order, whoever is free; of fewer tasks than threads only the first threads take any. One
 * thread at a time may run a team, and no task may run its own. Errors: BAD_INPUT for no threads; ENVIRONMENT
 * for threads that cannot be started. */
adamoe_status adamoe_team_create(uint32_t threads, adamoe_team **out);

/* The same with placement->threads threads, each pinned as pinning.h says. The calling thread is pinned too,
 * until adamoe_team_free: it is the one that should run the team, and whatever it starts meanwhile, threads
 * or programs, begins where it is pinned. Errors: ENVIRONMENT too where the system refuses to pin. */
adamoe_status adamoe_team_create_on(const adamoe_topology *topology, const adamoe_placement *placement,
                                    adamoe_team **out);

/* Lets the thread that created the team go where it could before. */
void adamoe_team_free(adamoe_team *team);

/* The number of processors that the calling thread may use. */
uint32_t adamoe_available_processors(void);

#endif

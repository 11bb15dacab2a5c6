/*
 * A team of worker threads. Its threads sleep between calls: a pool that spins would take the cores from
 * whatever else runs, and from the library kernels first of all. Pinning is not here yet.
 */
#ifndef ADAMOE_TEAM_H
#define ADAMOE_TEAM_H

#include "adamoe.h"

/* Starts threads - 1 workers; the calling thread is the remaining one. Tasks are taken in ascending
 * order, whoever is free. One thread at a time may run a team, and no task may run its own. Errors: BAD_INPUT
 * for no threads; ENVIRONMENT for threads that cannot be started. */
adamoe_status adamoe_team_create(uint32_t threads, adamoe_team **out);
void adamoe_team_free(adamoe_team *team);

/* The number of processors that this process may use. */
uint32_t adamoe_available_processors(void);

#endif

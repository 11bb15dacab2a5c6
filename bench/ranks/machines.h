/*
 * Which ranks of a run are on one machine, whose memory and processors they share. The launcher tells as much, but takes
 * network namespaces and containers of one machine for machines of their own.
 */
#ifndef ADAMOE_RANKS_MACHINES_H
#define ADAMOE_RANKS_MACHINES_H

#include "mpi/world.h"

/* Equal for all processes under one kernel since it was booted. */
uint64_t adamoe_machine_identity(void);

/* Ranks on the machine of this one, itself among them. By all ranks together. Errors: those of their messages; memory. */
adamoe_status adamoe_ranks_here(const adamoe_world *world, uint32_t *out);

#endif

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

/* Ranks of this machine for each processor that they may use, at least 1: all their threads for each of those processors,
 * over the same of this rank of `threads` threads alone. 1 where each rank has processors of its own. By all ranks
 * together. Errors: as above. */
adamoe_status adamoe_ranks_per_processor(const adamoe_world *world, uint32_t threads, double *out);

#endif

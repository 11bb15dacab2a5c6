/*
 * Whether this process is one of several, and the world that it belongs to then.
 */
#ifndef ADAMOE_MPI_LAUNCH_H
#define ADAMOE_MPI_LAUNCH_H

#include "mpi/world.h"

/* How long a rank may say nothing before it is taken for dead, in seconds. */
#define ADAMOE_PATIENCE 8.0

/* What mpirun (or another launcher of MPI) tells a process in its environment, before MPI is started. */
typedef struct adamoe_launch {
    uint32_t rank, ranks; /* 0 of 1 where it was started alone */
} adamoe_launch;

adamoe_launch adamoe_launch_of_process(void);

/* What all ranks find wrong before MPI is started, rank 0 says: the launcher ends the others when it ends,
 * for which they wait here, with nothing more on standard error. Returns at once in rank 0 and alone. */
void adamoe_launch_let_first_speak(void);

typedef struct adamoe_ranks adamoe_ranks;

/* The world of the launch: adamoe_alone where that has one rank, otherwise one on MPI. Starts no MPI where
 * it is not needed. Errors: MPI cannot be started (ENVIRONMENT); this program was built without it
 * (NOT_SUPPORTED). */
adamoe_status adamoe_ranks_open(double patience, adamoe_ranks **out);
const adamoe_world *adamoe_ranks_world(const adamoe_ranks *ranks);

/* The name and version of MPI; empty for a process alone. */
void adamoe_ranks_describe(const adamoe_ranks *ranks, char *text, size_t size);

/* After the last message, by all ranks; accepts NULL. */
void adamoe_ranks_close(adamoe_ranks *ranks);

/* Why the run failed, from what this rank met: that, named after the rank; or what another rank said or did,
 * without what this one was doing meanwhile. */
adamoe_status adamoe_ranks_cause(const adamoe_ranks *ranks, const adamoe_status *met);

/* Whether this rank is the one to say why the run failed: rank 0, or the first that still answers. Tells
 * the others, and gives the one who speaks time; a rank that comes back from it with false need not say
 * anything. */
bool adamoe_ranks_speaks(adamoe_ranks *ranks, const adamoe_status *status);

/* Ends all ranks; does not return where there are several. */
void adamoe_ranks_abort(adamoe_ranks *ranks, int code);

#endif

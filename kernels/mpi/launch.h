/*
 * Whether this process is one of several, and the world that it belongs to then.
 */
#ifndef ADAMOE_MPI_LAUNCH_H
#define ADAMOE_MPI_LAUNCH_H

#include "mpi/world.h"

/* How long a rank may say nothing before it is taken for dead, in seconds. */
#define ADAMOE_PATIENCE 8.0

/* What a launcher of MPI tells a process in its environment, before MPI is started. Known are mpirun of Open MPI, those that
 * speak PMI (MPICH and its kin, srun --mpi=pmi2), and srun --mpi=pmix; what another one starts takes itself for a process
 * alone. */
typedef struct adamoe_launch {
    uint32_t rank, ranks; /* 0 of 1 where it was started alone */
} adamoe_launch;

adamoe_launch adamoe_launch_of_process(void);

/* Before an error is said that came up before the ranks have met. Mostly all of them have it: rank 0 says it at once and
 * ends, and the launcher ends the others, which wait here for that. One that comes back from here is rank 0, alone, or has
 * an error of its own: the lowest such rank comes back first. */
void adamoe_launch_let_first_speak(void);

/* What an error that is said after that begins with: "rank 2: ", empty in rank 0 and alone. */
#define ADAMOE_LAUNCH_NAME 24
void adamoe_launch_name(char text[static ADAMOE_LAUNCH_NAME]);

typedef struct adamoe_ranks adamoe_ranks;

/* The world of the launch: adamoe_alone where that has one rank, otherwise one on MPI. Starts no MPI where
 * it is not needed. Errors: MPI cannot be started, or knows other ranks than the launch (ENVIRONMENT); this
 * program was built without it (NOT_SUPPORTED). */
adamoe_status adamoe_ranks_open(double patience, adamoe_ranks **out);
const adamoe_world *adamoe_ranks_world(const adamoe_ranks *ranks);

/* The name and version of MPI; empty for a process alone. */
void adamoe_ranks_describe(const adamoe_ranks *ranks, char *text, size_t size);

/* When all ranks have come to their end (a barrier), by all; accepts NULL. */
void adamoe_ranks_close(adamoe_ranks *ranks);

/* Why the run failed, from what this rank met: that, named after the rank; or what another rank said or did,
 * without what this one was doing meanwhile. */
adamoe_status adamoe_ranks_cause(const adamoe_ranks *ranks, const adamoe_status *met);

/* Tells the other ranks why this one ends, before it is said and all are ended. Comes back soon in the one who is to say it:
 * rank 0, or the first that still answers. The others wait here to be ended by it, and come back only where that one
 * has not done so. */
void adamoe_ranks_let_first_speak(adamoe_ranks *ranks, const adamoe_status *status);

/* Ends all ranks; does not return where there are several. */
void adamoe_ranks_abort(adamoe_ranks *ranks, int code);

#endif

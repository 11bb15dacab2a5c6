/*
 * Times of calls that all ranks make together: they begin at a barrier, and last as long as on the slowest rank.
 */
#ifndef ADAMOE_RANKS_COMMON_TIME_H
#define ADAMOE_RANKS_COMMON_TIME_H

#include "mpi/world.h"

/* The largest seconds[i] of all ranks, in its place on every rank. Errors: memory; those of messages. */
adamoe_status adamoe_slowest_of_ranks(const adamoe_world *world, double *seconds, size_t count);

/* One call, begun at a barrier, which is not in the time: *seconds is this rank's. Errors: those of the call and of
 * messages. */
adamoe_status adamoe_time_from_barrier(const adamoe_world *world, adamoe_status (*call)(void *context),
                                       void *context, double *seconds);

/* Makes `count` calls, each begun at a barrier of its own: seconds[i] is that of the slowest
 * rank. Errors: those of the call; as above. */
adamoe_status adamoe_time_together(const adamoe_world *world, adamoe_status (*call)(void *context),
                                   void *context, size_t count, double *seconds);

#endif

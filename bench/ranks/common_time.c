/*
 * Times of calls that all ranks make together: see common_time.h.
 */
#include "ranks/common_time.h"
#include "machine/clock.h"

#include <math.h>
#include <stdlib.h>

adamoe_status adamoe_slowest_of_ranks(const adamoe_world *world, double *seconds, size_t count)
{
    if (world->ranks == 1) {
        return adamoe_ok();
    }
    double *all = calloc(world->ranks * count + 1, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "times of %u ranks: out of memory", world->ranks);
    }
    const adamoe_status status = adamoe_world_gather(world, seconds, count * sizeof *seconds, all);
    for (size_t i = 0; i < world->ranks * count && world->rank == 0 && status.code == ADAMOE_OK; ++i) {
        seconds[i % count] = fmax(seconds[i % count], all[i]);
    }
    free(all);
    return status.code == ADAMOE_OK ? adamoe_world_broadcast(world, seconds, count * sizeof *seconds)
                                    : status;
}

adamoe_status adamoe_time_from_barrier(const adamoe_world *world, adamoe_status (*call)(void *context),
                                       void *context, double *seconds)
{
    ADAMOE_TRY(adamoe_world_barrier(world));
    const double start = adamoe_now();
    ADAMOE_TRY(call(context));
    *seconds = adamoe_now() - start;
    return adamoe_ok();
}

adamoe_status adamoe_time_together(const adamoe_world *world, adamoe_status (*call)(void *context),
                                   void *context, size_t count, double *seconds)
{
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(adamoe_time_from_barrier(world, call, context, &seconds[i]));
    }
    return adamoe_slowest_of_ranks(world, seconds, count);
}

/*
 * What else a machine had to do while a run over ranks went on: see shared_load.h.
 */
#include "ranks/shared_load.h"
#include "ranks/machines.h"

#include <math.h>
#include <stdlib.h>

/* Of the process that ci/emulate_network.sh names. */
static double carrier_seconds(void)
{
    const char *text = getenv("NETWORK_RELAY");
    return text == NULL ? 0.0 : adamoe_process_seconds(strtol(text, NULL, 10));
}

void adamoe_shared_load_begin(adamoe_shared_load *out)
{
    out->carrier = carrier_seconds();
    adamoe_mark_load(&out->mark);
}

/* What a rank used, and where. */
typedef struct use {
    uint64_t machine;
    double seconds;
} use;

adamoe_status adamoe_shared_load_end(const adamoe_world *world, const adamoe_shared_load *load,
                                     adamoe_load_mark *out)
{
    adamoe_shared_load now;
    *out = load->mark;
    if (world->ranks == 1) {
        return adamoe_ok();
    }
    use *all = calloc(world->ranks, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    adamoe_status status = adamoe_world_barrier(world);
    adamoe_shared_load_begin(&now);
    const use own = {adamoe_machine_identity(), now.mark.own - load->mark.own};
    if (status.code == ADAMOE_OK) {
        status = adamoe_world_gather(world, &own, sizeof own, all);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_world_broadcast(world, all, world->ranks * sizeof *all);
    }
    out->own -= now.carrier - load->carrier;
    for (uint32_t r = 0; r < world->ranks; ++r) {
        out->own -= r != world->rank && all[r].machine == own.machine ? all[r].seconds : 0.0;
    }
    out->waiting = (double)NAN;
    free(all);
    return status;
}

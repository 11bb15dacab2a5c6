/*
 * What ranks must have in common before they begin: see agreement.h.
 */
#include "ranks/agreement.h"

#include <stdlib.h>

static adamoe_status compare(const adamoe_rank_facts *all, uint32_t ranks)
{
    for (uint32_t r = 1; r < ranks; ++r) {
        adamoe_rank_difference d;
        if (adamoe_rank_facts_differ(&all[0], &all[r], &d)) {
            return adamoe_error(ADAMOE_BAD_INPUT, "rank %u differs from rank 0 in its %s: %s, rank 0: %s", r,
                                d.name, d.other, d.one);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_rank_agree(const adamoe_world *world, adamoe_status own, const adamoe_rank_facts *facts)
{
    ADAMOE_TRY(adamoe_world_agree(world, own));
    if (world->ranks == 1) {
        return adamoe_ok();
    }
    adamoe_rank_facts *all = calloc(world->ranks, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    adamoe_status status = adamoe_world_gather(world, facts, sizeof *facts, all);
    if (status.code == ADAMOE_OK) {
        status = adamoe_world_agree(world, world->rank == 0 ? compare(all, world->ranks) : adamoe_ok());
    }
    free(all);
    return status;
}

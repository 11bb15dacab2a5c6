/*
 * What ranks must have in common before they begin. A rank that has another is named, and so is what it has.
 */
#ifndef ADAMOE_RANKS_AGREEMENT_H
#define ADAMOE_RANKS_AGREEMENT_H

#include "mpi/world.h"
#include "ranks/facts.h"

/* Returns on all ranks: OK, or BAD_INPUT, which names the first rank that differs from rank 0 and what it
 * has; or the error `own` of the lowest rank that has one. */
adamoe_status adamoe_rank_agree(const adamoe_world *world, adamoe_status own, const adamoe_rank_facts *facts);

#endif

/*
 * A kernel whose experts live on the ranks of a world: rows travel to the owners of their experts, are
 * computed there by a kernel of the table, come back, and are summed where their token is, in ascending
 * order of experts.
 *
 * The result has the bits of the inner kernel on one rank where that promises ADAMOE_SAME_BITS_BATCH and
 * has `combine`; otherwise it is as near as another order of batch-mates makes it.
 *
 * Each call of `experts` on a layer of several experts is one exchange, in which every rank takes part with
 * a plan of its own, one without rows too: all ranks prepare the same layers in the same order, and call
 * them in the same order. A layer of one expert (a dense layer, a shared expert) is held by every rank and
 * never travels.
 *
 * Unlike other kernels it keeps memory that grows with the largest call, since it does not know what the
 * others will ask of it; and its calls come one at a time, whatever was prepared.
 */
#ifndef ADAMOE_MPI_SHARDED_H
#define ADAMOE_MPI_SHARDED_H

#include "mpi/counters.h"
#include "mpi/world.h"

/* rank_of_expert[experts] of layer number `layer`: those of several experts count, from 0 on, in the order
 * in which they were prepared. Pure: all ranks ask it the same. */
typedef void adamoe_assign(const void *context, size_t layer, size_t experts, uint32_t ranks,
                           uint32_t *rank_of_expert);

typedef struct adamoe_sharded_options {
    const adamoe_world *world;
    adamoe_assign *assign; /* NULL: neighbouring experts together */
    const void *assign_context;
    uint32_t
        chunks; /* into which an owner cuts its experts: outputs of one leave while the next is computed; at least 1 */
    bool overlap; /* what stays is computed while the rest travels; otherwise one after the other */
} adamoe_sharded_options;

typedef struct adamoe_sharded adamoe_sharded;

/* `inner` and what the options name must outlive *out. Errors: memory; more such kernels than there is room
 * for. */
adamoe_status adamoe_sharded_create(const adamoe_kernel *inner, const adamoe_sharded_options *options,
                                    adamoe_sharded **out);
/* After what was prepared is released. Accepts NULL. */
void adamoe_sharded_free(adamoe_sharded *sharded);

/* The table; lives as long as the object. Of a world of one rank it is `inner` itself. */
const adamoe_kernel *adamoe_sharded_kernel(const adamoe_sharded *sharded);

/* This rank's own experts of a layer that was prepared, as the inner kernel prepared them, which must not outlive it; NULL
 * where it has none. */
adamoe_prepared *adamoe_sharded_own(const adamoe_prepared *prepared);

/* Of the calls that follow. Ranks need not be alike in it. */
void adamoe_sharded_set_overlap(adamoe_sharded *sharded, bool overlap);

/* Who owns the experts of layer number `layer`, as adamoe_assign counts them; NULL where there is none. */
const uint32_t *adamoe_sharded_assignment(const adamoe_sharded *sharded, size_t layer);

/* Of all calls since the last clearing. */
adamoe_rank_counters adamoe_sharded_counters(const adamoe_sharded *sharded);
void adamoe_sharded_clear(adamoe_sharded *sharded);

#endif

/*
 * Counts while questions are scored what their rows put on the wire, from the routing alone: as experts are
 * chosen, and as the baseline would choose them.
 */
#ifndef ADAMOE_EVAL_WIRE_COUNT_H
#define ADAMOE_EVAL_WIRE_COUNT_H

#include "mpi/sharded.h"
#include "mpi/volume.h"

typedef struct adamoe_wire_count {
    const adamoe_sharded *sharded;
    const adamoe_world *world;
    adamoe_wire wire;
    size_t baseline_k;
    uint64_t bytes; /* there and back, of this rank's tokens */
    uint64_t
        baseline; /* the same if each token had the baseline_k true experts of the largest logits; 0 where a router of
                          the table chooses */
    adamoe_volume *volume; /* [ranks] */
    uint32_t *seen;        /* [room] */
    uint32_t *choice;      /* [room, baseline_k] */
    size_t room;
    bool failed; /* for want of memory */
} adamoe_wire_count;

/* What it is given must outlive it. Errors: memory. */
adamoe_status adamoe_wire_count_create(const adamoe_sharded *sharded, const adamoe_world *world,
                                       adamoe_wire wire, size_t baseline_k, adamoe_wire_count *out);
void adamoe_wire_count_free(adamoe_wire_count *count);

void adamoe_wire_count_routing(adamoe_wire_count *count, size_t layer, const adamoe_routing *routing);
void adamoe_wire_count_plan(adamoe_wire_count *count, size_t layer, const adamoe_plan *plan);

#endif

/*
 * A layer over the ranks of a run, on its way through a benchmark: calls that all ranks begin together, each with tokens of
 * its own, and what they put on the wire.
 */
#ifndef ADAMOE_BENCH_SPREAD_H
#define ADAMOE_BENCH_SPREAD_H

#include "layers/traffic.h"
#include "ranks/spread_layer.h"
#include "ranks/traffic.h"
#include "timing/group.h"
#include "timing/router_step.h"

/* What all that is timed in a run has in common. */
typedef struct adamoe_spread_setting {
    const adamoe_world *world;
    uint32_t ranks_here; /* on the machine of this one */
    const adamoe_rank_options *rank;
    const adamoe_machine *machine;
    adamoe_timing_options timing;
} adamoe_spread_setting;

/* What one call of one rank sends to the others, and gets back. */
typedef struct adamoe_spread_wire {
    uint64_t rows, rows_sent, inputs_sent, bytes;
} adamoe_spread_wire;

/* One thing that is timed: a kernel on the batches of this rank. */
typedef struct adamoe_spread_variant {
    const adamoe_spread_setting *setting;
    const adamoe_kernel *inner;
    adamoe_spread_kernel *kernel; /* may be shared with another variant, as may `turn` */
    size_t tokens, batches;       /* tokens of a call on each rank; the batches take turns */
    const float **x;              /* [batches] */
    const adamoe_plan **plan;     /* [batches] */
    adamoe_router_step *router;   /* makes the plan anew in each call; NULL: it is given */
    size_t *turn, each;           /* calls so far; after `each` of them comes the next copy of the weights */
    /* Filled in by opening it, and by what follows: */
    adamoe_spread_wire *wire; /* [batches] */
    adamoe_run run;
    float *y;
    size_t next, calls;            /* so far; of a repetition */
    size_t copies, copies_wanted;  /* of the weights: the same on all ranks */
    adamoe_rank_counters counters; /* of the timed calls */
    uint64_t predicted;            /* bytes of those */
    double *seconds;               /* [repetitions] mean of the calls, each that of the slowest rank */
    char implementation[128];
} adamoe_spread_variant;

/* With one copy of the weights, which the kernel has prepared; x and plan [batches] are to be filled in before. Errors:
 * memory. */
adamoe_status adamoe_spread_variant_room(adamoe_spread_variant *variant);
adamoe_status adamoe_spread_variant_open(adamoe_spread_variant *variant);
void adamoe_spread_variant_close(adamoe_spread_variant *variant);

/* Makes the next call: adamoe_time_from_barrier takes it. */
adamoe_status adamoe_spread_variant_call(void *variant);

/* Makes one call of the first batch on all ranks, and judges the outputs of each against the reference, as one machine's
 * are judged. *wrong is the same on all ranks: what the lowest one with a wrong result found. Errors: what ends the run. */
adamoe_status adamoe_spread_variant_check(adamoe_spread_variant *variant, adamoe_status *wrong);

/* Asks for what the first copy of the weights takes, for all ranks of this machine together, before any of them takes it:
 * as stored, unless the layer holds one, and prepared for each of the kernels that can run here. Leaves out the weights of
 * other ranks' experts that a check makes. The same on all ranks. Errors: ENVIRONMENT, which says what helps; those of
 * messages. */
adamoe_status adamoe_spread_ask_weights(const adamoe_spread_setting *setting,
                                        const adamoe_spread_layer *layer, const adamoe_kernel *const *kernel,
                                        size_t kernels);

/* Copies of the weights that outlast the caches of every rank, at most `most` of them, as far as half of the memory goes:
 * `sharing` kernels hold as many. The same on all ranks. Errors: memory; those of messages. */
adamoe_status adamoe_spread_variant_copies(adamoe_spread_variant *variant, size_t most, size_t sharing);

/* Counters of calls from a clearing on are added to the variant's; the calls in between are not. */
void adamoe_spread_variant_clear(adamoe_spread_variant *variant);
void adamoe_spread_variant_count(adamoe_spread_variant *variant);

/* The wire of one round through the batches, all ranks together, on rank 0. Errors: memory; those of messages. */
adamoe_status adamoe_spread_variant_round(const adamoe_spread_variant *variant, adamoe_spread_wire *out);

/* What the ranks counted, on rank 0; baseline_bytes are this rank's. Errors: DIFFERENCE, on all ranks, where other bytes
 * were sent than predicted; memory; those of messages. */
adamoe_status adamoe_spread_variant_traffic(const adamoe_spread_variant *variant, uint64_t baseline_bytes,
                                            const char *mpi, adamoe_traffic_report *out);

/* Reads so much from elsewhere that no weight is left in a cache. */
void adamoe_spread_empty_caches(void);

#endif

/*
 * Kernels that are compared with each other: the same calls, timed in turn.
 *
 * Within each repetition every kernel has its time, in an order that moves on by one from repetition to
 * repetition, and before and after each of them the machine's peaks are measured by short bursts: whatever
 * changes on the machine changes for all of them, and repetition i of one kernel is a pair with repetition i
 * of another, and with the roofline of that moment (paired_limit.h).
 */
#ifndef ADAMOE_TIMING_GROUP_H
#define ADAMOE_TIMING_GROUP_H

#include "timing/bench_machine.h"
#include "timing/summary.h"
#include "timing/possible.h"
#include "timing/weights.h"
#include "timing/paired_limit.h"
#include "timing/router_step.h"

typedef struct adamoe_timing_options {
    uint64_t seed;
    size_t repetitions;   /* at least 1 */
    double least_seconds; /* of one repetition; a call that is shorter is repeated within it */
    bool hot;             /* the same weights again and again */
    bool stages;          /* route and plan are run and timed too, and the kernel is asked for its stages */
} adamoe_timing_options;

/* Seconds of one call, means over a repetition. crossing is what a kernel in a process of its own takes beyond what its
 * process's clock says, and 0 for others: it is a part of the time, and is measured without options.stages too. */
typedef struct adamoe_stage_seconds {
    double route, plan, up, down, combine, crossing;
} adamoe_stage_seconds;

typedef struct adamoe_bench_member {
    const adamoe_kernel *kernel;
    bool wanted; /* false: it takes no part */
    /* what is found out: */
    adamoe_status status; /* if not ADAMOE_OK, nothing below holds */
    char implementation[128];
    size_t copies_wanted, copies; /* of the weights: so that they are cold, and as many as memory allows */
    size_t calls;                 /* of one repetition */
    double *seconds;              /* [repetitions] of adamoe_kernel.experts, mean over the calls */
    adamoe_stage_seconds *stages; /* [repetitions] with options.stages */
    double load;
    adamoe_plan_work work;
    adamoe_peak peak;
    size_t *before;       /* [repetitions] the burst before; the one after is the next */
    adamoe_limit *limits; /* [repetitions] of the moment */
    adamoe_limit limit;   /* of the best bursts */
    const char *binds; /* "arithmetic", "memory", "L3" or "L2": what the limit comes from; "" without one */
    adamoe_status possible;       /* adamoe_judge_possible */
    adamoe_bench_summary summary; /* speedup: over the first member that has times */
} adamoe_bench_member;

/* Checks each kernel on the very call that is timed, then times them. A kernel that fails leaves the others
 * alone. Errors: memory. */
adamoe_status adamoe_bench_group_run(const adamoe_bench_machine *machine, adamoe_bench_weights *weights,
                                     const adamoe_traffic *traffic, const adamoe_timing_options *options,
                                     adamoe_bench_member *member, size_t count);

void adamoe_bench_member_free(adamoe_bench_member *member);

/* False where a kernel does not tell its stages. */
bool adamoe_tells_stages(const adamoe_stage_seconds *stages);

/* The layer's time less its two products, as a share of it: route, plan, the weighted sum and whatever the
 * kernel does besides. `experts` is the time of adamoe_kernel.experts. */
double adamoe_overhead_share(const adamoe_stage_seconds *stages, double experts);

/* True where there was too little memory for the copies that keep weights cold. */
static inline bool adamoe_is_capped(const adamoe_bench_member *member)
{
    return member->copies < member->copies_wanted;
}

/* Copies of the weights so that calls touch more than twice the last-level cache before they come back. */
size_t adamoe_cold_copies(double touched_bytes, size_t batches, size_t cache_bytes);

#endif

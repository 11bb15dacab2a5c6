/*
 * How a guarded call is made, and what it came to: what all calls of check/call/call.h have in common.
 */
#ifndef ADAMOE_CHECK_CALL_MANNER_H
#define ADAMOE_CHECK_CALL_MANNER_H

#include "check/call/kept.h"
#include "check/call/memory.h"
#include "check/call/state.h"

/* What a call came to, other than its output. */
typedef enum adamoe_call_end {
    ADAMOE_CALL_DONE = 0,
    ADAMOE_CALL_WRONG = 1,         /* an error of the kernel; detail says which */
    ADAMOE_CALL_NOT_SUPPORTED = 2, /* prepare said so */
} adamoe_call_end;

typedef struct adamoe_call_outcome {
    adamoe_call_end end;
    bool shortage; /* the error is the kernel's ADAMOE_ENVIRONMENT */
    char detail[320];
} adamoe_call_outcome;

/* Who calls and how. */
typedef struct adamoe_call_manner {
    const adamoe_kernel *kernel;
    const adamoe_team
        *team; /* NULL: placement.threads threads in name, tasks backwards in the calling thread */
    adamoe_placement placement;
    adamoe_guard_end end; /* which end of every buffer touches an inaccessible page */
    bool perturbed; /* the team's tasks come in an order and with delays of `seed` (check/call/perturbed.h) */
    uint64_t seed;
    adamoe_kept
        *kept; /* of attention, route and backward: where all buffers are; NULL: elsewhere each time */
} adamoe_call_manner;

#endif

/*
 * One case of `adamoe check`: a kernel computes it, and the yardstick of its arithmetic judges what it wrote.
 *
 * Two tiers are there: `bound`, each element and the whole tensor within the error bound of
 * reference/bound.h, and of the tier `bitwise` what the contract asks of every dense product: equal rows of a
 * matrix give bit-equal columns. Left out: crashes of a kernel, and guards around its buffers.
 */
#ifndef ADAMOE_CHECK_RUN_H
#define ADAMOE_CHECK_RUN_H

#include "check_cases.h"

typedef enum adamoe_check_status {
    ADAMOE_CHECK_PASSED = 0,
    ADAMOE_CHECK_FAILED = 1,
    ADAMOE_CHECK_SKIPPED = 2, /* the kernel does not do this; detail says why */
    ADAMOE_CHECK_VACUOUS = 3, /* done, but it proves nothing; detail says why */
} adamoe_check_status;

#define ADAMOE_CHECK_STATUSES 4

/* "passed", "failed", "skipped", "vacuous". */
extern const char *const adamoe_check_status_names[ADAMOE_CHECK_STATUSES];

typedef struct adamoe_check_result {
    adamoe_check_status status;
    const char *tier;     /* "bound" or "bitwise": what failed, or the last one that passed */
    char detail[320];     /* a line for a person; empty where it passed */
    bool has_element;     /* the outputs were compared: all that follows is set */
    size_t row, column;   /* of the element that is worst: token and channel, or input and matrix row */
    float got;            /* there */
    double expected;      /* there */
    double bound;         /* how far it may be off */
    double largest_ratio; /* of error / bound, at that element; infinite for a NaN */
    double rms_ratio;     /* of the whole tensor; above 1 fails */
} adamoe_check_result;

/* Runs the case with the threads of `team`. What the kernel does wrong is a result, not an error: a failing
 * prepare (skipped where it says NOT_SUPPORTED), a failing call, an output row that was not written. y is
 * filled with NaN before the call; the workspace is exactly as long as the kernel asked, aligned to 64 and
 * not to 128, and filled with NaN too. Errors: memory for the data of the case. */
adamoe_status adamoe_check_run(const adamoe_kernel *kernel, const adamoe_case *c, uint64_t seed,
                               const adamoe_team *team, adamoe_check_result *out);

#endif

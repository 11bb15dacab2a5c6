/*
 * One case of `adamoe check`: a kernel computes it, and the rule of its tier judges what it wrote.
 *
 *   exact     small integers whose every partial sum is representable, against 64-bit integers: equal,
 * whatever the order of summation; +0 equals -0 bound     random values: each element and the whole tensor
 * within the error bound of reference/bound.h bitwise   what the kernel guarantees about its bits: from run
 * to run, for 1, 2, 3 and 7 threads, for a token alone and in a batch, for every placement; a guarantee that
 * is not claimed is skipped, and said property  a change of the input whose effect on the output is known
 *   routing   the same experts as reference/router.c; an exact tie broken the other way is an error
 *   model     a small model on the kernel against reference/batch.c
 *
 * All calls are made as check/call/call.h says: what it sees fails a case of any tier.
 */
#ifndef ADAMOE_CHECK_RUN_H
#define ADAMOE_CHECK_RUN_H

#include "check/call/call.h"
#include "check/cases/cases.h"

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
    adamoe_tier tier;     /* of the rule that failed, or of the case */
    char detail[320];     /* a line for a person; empty where it passed and there is nothing to say */
    bool has_element;     /* the outputs were compared: all that follows is set */
    size_t row, column;   /* of the element that is worst: token and channel, or input and matrix row */
    double got;           /* there */
    double expected;      /* there */
    double bound;         /* how far it may be off; 0 where it must be equal */
    double largest_ratio; /* of error / bound, at that element; infinite for a NaN, or where 0 is allowed */
    double rms_ratio;     /* of the whole tensor; above 1 fails */
    /* of a gradient that is judged by a bound: the largest of each tensor; a child process
     * does not tell it */
    double tensor_ratio[ADAMOE_GRADIENT_TENSORS];
} adamoe_check_result;

/* Runs the case with the threads of `team`, placed as `placement` says, which is for as many threads (NULL:
 * all on one node). What the kernel does wrong is a result, not an error: a failing prepare (skipped where it
 * says NOT_SUPPORTED), a failing call, an output row that was not written. Errors: memory for the data of the
 * case. */
adamoe_status adamoe_check_run(const adamoe_kernel *kernel, const adamoe_case *c, uint64_t seed,
                               const adamoe_team *team, const adamoe_placement *placement,
                               adamoe_check_result *out);

#endif

/*
 * One case of `adamoe check`: a kernel computes it, and the rule of its tier judges what it wrote.
 *
 *   exact     small integers whose every partial sum is representable, against 64-bit integers: equal, whatever
 *             the order of summation; +0 equals -0
 *   bound     random values: each element and the whole tensor within the error bound of reference/bound/bound.h
 *   bitwise   what the kernel guarantees about its bits: from run to run, for any number of threads, for a token
 *             alone and in a batch, for every placement; a guarantee that is not claimed is skipped, and said
 *   property  a change of the input whose effect on the output is known
 *   routing   the same experts as reference/router.c; an exact tie broken the other way is an error
 *   model     a small model on the kernel against reference/batch.c
 *
 * All calls are made as check/call/call.h says: what it sees fails a case of any tier.
 */
#ifndef ADAMOE_CHECK_RUN_H
#define ADAMOE_CHECK_RUN_H

#include "check/call/call.h"
#include "check/kinds/kinds.h"
#include "check/tiers/result.h"

/* Runs the case with the threads of `team`, placed as `placement` says, which is for as many threads (NULL:
 * all on one node). What the kernel does wrong is a result, not an error: a failing prepare (skipped where it
 * says NOT_SUPPORTED), a failing call, an output row that was not written. Errors: memory for the data of the
 * case. */
adamoe_status adamoe_check_run(const adamoe_kernel *kernel, const adamoe_case *c, uint64_t seed,
                               const adamoe_team *team, const adamoe_placement *placement,
                               adamoe_check_result *out);

#endif

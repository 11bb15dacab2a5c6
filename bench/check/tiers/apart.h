/*
 * The promise of adamoe_kernel.combine: the outputs of single rows, added up, have the bits of the whole.
 */
#ifndef ADAMOE_CHECK_TIERS_APART_H
#define ADAMOE_CHECK_TIERS_APART_H

#include "check/tiers/data.h"
#include "check/tiers/judge.h"

/* `expected` [tokens, hidden_size] is what experts gave. Nothing where the kernel has no `combine`. Errors: memory. */
adamoe_status adamoe_check_apart(const adamoe_checking *k, const adamoe_case_data *data,
                                 const float *expected);

#endif

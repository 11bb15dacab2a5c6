/*
 * Empty sums: what no row adds to is +0, whatever the inputs are. Anything else, -0 too, tells that something was
 * computed from what does not belong there. Not for others than the tiers.
 */
#ifndef ADAMOE_CHECK_TIERS_EMPTY_SUMS_H
#define ADAMOE_CHECK_TIERS_EMPTY_SUMS_H

#include "check/tiers/judge.h"

/* False where a row of a token without rows and without a share of an identity expert is not +0 all over, which then
 * is the result; `values` is [tokens, width], and `what` says of what. */
bool adamoe_check_empty_tokens(const adamoe_checking *k, const adamoe_plan *plan, const float *values,
                               size_t width, const char *what);

/* The same of the matrices of experts without rows; `values` is [experts, rows, width]. */
bool adamoe_check_empty_experts(const adamoe_checking *k, const adamoe_plan *plan, const float *values,
                                size_t rows, size_t width, const char *what);

#endif

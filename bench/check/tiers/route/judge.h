/*
 * How the tiers of a router judge a routing; not for others.
 *
 * From given logits nothing is forgiven: the ids are equal, and weights and probabilities lie within the
 * bound of a softmax in float32. With d_i = l_i - max, rounded by u |d_i|, and exp to E units, the relative
 * error of p_i = exp(d_i) / sum is at most u (|d_i| + sum_j p_j |d_j| + 2 E + K + 3) to first order, K the
 * number of terms. E is the kernel's declared error of silu plus 2: far below zero silu is exp but for two
 * roundings.
 */
#ifndef ADAMOE_CHECK_TIERS_ROUTE_JUDGE_H
#define ADAMOE_CHECK_TIERS_ROUTE_JUDGE_H

#include "check/tiers/judge.h"

adamoe_rule adamoe_check_rule(const adamoe_case *c);

/* Makes an element the result, which fails: of a token, and an expert or its place in the list. */
void adamoe_check_routing_fails(const adamoe_checking *k, size_t row, size_t column, double got,
                                double expected, double bound, const char *what);

/* Judges what a kernel made of logits by what the reference makes of them. False where it fails, which then is the
 * result. */
bool adamoe_check_routing(const adamoe_checking *k, const adamoe_routing *got,
                          const adamoe_routing *expected);

/* False where the tokens of `got` and as many of `expected` from token `row` on differ in a bit of any array, which then
 * is the result. */
bool adamoe_check_same_routing(const adamoe_checking *k, const adamoe_routing *got,
                               const adamoe_routing *expected, size_t row, const char *what);

#endif

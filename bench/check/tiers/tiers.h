/*
 * The tiers of `adamoe check`, kind by kind: the rows of check/kinds/ name them.
 */
#ifndef ADAMOE_CHECK_TIERS_TIERS_H
#define ADAMOE_CHECK_TIERS_TIERS_H

#include "check/tiers/judge.h"

/* One function for each kind and tier. Errors: memory. */
adamoe_status adamoe_check_experts_exact(const adamoe_checking *k);
adamoe_status adamoe_check_experts_bound(const adamoe_checking *k);
adamoe_status adamoe_check_experts_bitwise(const adamoe_checking *k);
adamoe_status adamoe_check_experts_property(const adamoe_checking *k);
adamoe_status adamoe_check_multiply_exact(const adamoe_checking *k);
adamoe_status adamoe_check_multiply_bound(const adamoe_checking *k);
adamoe_status adamoe_check_multiply_bitwise(const adamoe_checking *k);
adamoe_status adamoe_check_multiply_property(const adamoe_checking *k);
adamoe_status adamoe_check_model_tier(const adamoe_checking *k);

/* The tier bound of one call of experts, whatever made its plan: of the tokens and the hidden size of the case, with
 * buffers at both ends of their pages. Errors: memory. */
adamoe_status adamoe_check_call_bound(const adamoe_checking *k, const adamoe_experts_call *call);

#endif

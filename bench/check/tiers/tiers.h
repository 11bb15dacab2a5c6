/*
 * The tiers of `adamoe check`: check/run.c chooses among them.
 */
#ifndef ADAMOE_CHECK_TIERS_TIERS_H
#define ADAMOE_CHECK_TIERS_TIERS_H

#include "check/tiers/judge.h"

/* One function for each tier. Errors: memory. */
adamoe_status adamoe_check_exact(const adamoe_checking *k);
adamoe_status adamoe_check_bound(const adamoe_checking *k);
adamoe_status adamoe_check_attention(const adamoe_checking *k);
adamoe_status adamoe_check_gradient(const adamoe_checking *k); /* of all three tiers that it has */
adamoe_status adamoe_check_model_tier(const adamoe_checking *k);
adamoe_status adamoe_check_bitwise(const adamoe_checking *k);
adamoe_status adamoe_check_property(const adamoe_checking *k);
adamoe_status adamoe_check_routing(const adamoe_checking *k);

#endif

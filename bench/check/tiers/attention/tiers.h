/*
 * The tiers of attention: the row of its kind names them.
 */
#ifndef ADAMOE_CHECK_TIERS_ATTENTION_TIERS_H
#define ADAMOE_CHECK_TIERS_ATTENTION_TIERS_H

#include "check/tiers/judge.h"

/* One function for each tier. Errors: memory. */
adamoe_status adamoe_check_attention_bound(const adamoe_checking *k);
adamoe_status adamoe_check_attention_bitwise(const adamoe_checking *k);
adamoe_status adamoe_check_attention_property(const adamoe_checking *k);

/* The property `repeated-calls`. Errors: memory. */
adamoe_status adamoe_check_attention_repeated(const adamoe_checking *k);

#endif

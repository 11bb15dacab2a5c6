/*
 * The tiers of a router: the rows of the kinds `route` and `logits` name them.
 */
#ifndef ADAMOE_CHECK_TIERS_ROUTE_TIERS_H
#define ADAMOE_CHECK_TIERS_ROUTE_TIERS_H

#include "check/tiers/judge.h"

/* One function for each kind and tier. Errors: memory. */
adamoe_status adamoe_check_route_routing(const adamoe_checking *k);
adamoe_status adamoe_check_route_bitwise(const adamoe_checking *k);
adamoe_status
adamoe_check_route_repeated(const adamoe_checking *k); /* of tier property, the one that it has */
adamoe_status adamoe_check_logits_routing(const adamoe_checking *k);

#endif

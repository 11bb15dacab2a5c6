/*
 * Logits that try a router: ties, near ties, extremes.
 */
#ifndef ADAMOE_CHECK_TIERS_ROUTE_LOGITS_H
#define ADAMOE_CHECK_TIERS_ROUTE_LOGITS_H

#include "check/cases/cases.h"

/* logits is [tokens, n + m]. */
void adamoe_check_logits(const adamoe_case *c, adamoe_splitmix64 *random, float *logits);

#endif

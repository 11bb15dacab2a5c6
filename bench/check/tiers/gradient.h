/*
 * The tiers of a gradient, among which adamoe_check_gradient chooses.
 */
#ifndef ADAMOE_CHECK_TIERS_GRADIENT_H
#define ADAMOE_CHECK_TIERS_GRADIENT_H

#include "check/tiers/judge.h"

adamoe_status adamoe_check_gradient_exact(const adamoe_checking *k);
adamoe_status adamoe_check_gradient_bitwise(const adamoe_checking *k);

#endif

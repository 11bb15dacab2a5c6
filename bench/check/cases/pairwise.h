/*
 * Pairwise test design: few rows, in which any two values of two different factors meet at least once. Most
 * faults need one or two circumstances to show; all combinations of all factors would be too many.
 */
#ifndef ADAMOE_CHECK_CASES_PAIRWISE_H
#define ADAMOE_CHECK_CASES_PAIRWISE_H

#include "adamoe.h"

/* values[f] is the number of values of factor f, at least 1; there are at least 2 factors. *design receives
 * [*rows, factors] indices of values, to be freed with free(). The same input gives the same design. Errors:
 * memory. */
adamoe_status adamoe_pairwise(const size_t *values, size_t factors, size_t **design, size_t *rows);

#endif

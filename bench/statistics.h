/*
 * Order statistics of a few numbers.
 */
#ifndef ADAMOE_STATISTICS_H
#define ADAMOE_STATISTICS_H

#include <stddef.h>

/* Ascending; no NaN among them. */
void adamoe_sort(double *values, size_t count);

/* Of sorted values, at least one: the middle one, or the mean of the two in the middle. */
double adamoe_median(const double *sorted, size_t count);

#endif

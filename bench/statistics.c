/*
 * Order statistics of a few numbers.
 */
#include "statistics.h"

#include <stdlib.h>

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

void adamoe_sort(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
}

double adamoe_median(const double *sorted, size_t count)
{
    return 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]);
}

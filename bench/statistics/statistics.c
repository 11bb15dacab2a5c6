/*
 * Order statistics and ranks.
 */
#include "statistics/statistics.h"

#include <math.h>
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

typedef struct place {
    double value;
    size_t index;
} place;

static int compare_places(const void *left, const void *right)
{
    const place *a = left, *b = right;
    return (a->value > b->value) - (a->value < b->value);
}

adamoe_status adamoe_double_ranks(const double *values, size_t count, uint32_t *ranks, double *ties)
{
    place *sorted = calloc(count + 1, sizeof *sorted);
    if (sorted == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        sorted[i] = (place){values[i], i};
    }
    qsort(sorted, count, sizeof *sorted, compare_places);
    *ties = 0.0;
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && sorted[end].value == sorted[first].value;) {
            ++end;
        }
        /* The ranks first + 1 .. end have the mean (first + 1 + end) / 2. */
        for (size_t i = first; i < end; ++i) {
            ranks[sorted[i].index] = (uint32_t)(first + 1 + end);
        }
        const double equal = (double)(end - first);
        *ties += equal * equal * equal - equal;
    }
    free(sorted);
    return adamoe_ok();
}

double adamoe_normal_p(double z)
{
    return erfc(fabs(z) / sqrt(2.0));
}

adamoe_interval adamoe_median_interval(const double *sorted, size_t count, double level)
{
    const double n = (double)count;
    double below = 0.0; /* P(fewer than `rank` values lie below the median) */
    size_t rank = 0;
    for (; rank < count; ++rank) {
        const double k = (double)rank;
        below += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) - n * log(2.0));
        if (2.0 * below > 1.0 - level) {
            break;
        }
    }
    return rank == 0 ? (adamoe_interval){-HUGE_VAL, HUGE_VAL}
                     : (adamoe_interval){sorted[rank - 1], sorted[count - rank]};
}

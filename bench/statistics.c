/*
 * Order statistics and ranks.
 */
#include "statistics.h"

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

/*
 * Many tests at once: Holm's correction, and how many pairs it takes for one of them to be able to survive.
 */
#include "statistics/statistics.h"

#include <math.h>
#include <stdlib.h>

adamoe_status adamoe_holm(const double *p, size_t count, double *adjusted)
{
    double *sorted = calloc(count + 1, sizeof *sorted);
    if (sorted == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "Holm's correction: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        sorted[i] = p[i];
    }
    adamoe_sort(sorted, count);
    for (size_t i = 0; i < count; ++i) {
        adjusted[i] = 0.0;
        for (size_t rank = 0; rank < count && sorted[rank] <= p[i]; ++rank) {
            adjusted[i] = fmax(adjusted[i], fmin(1.0, (double)(count - rank) * sorted[rank]));
        }
    }
    free(sorted);
    return adamoe_ok();
}

double adamoe_smallest_paired_p(size_t pairs)
{
    return fmin(1.0, ldexp(2.0, -(int)(pairs < 2000 ? pairs : 2000)));
}

double adamoe_smallest_unpaired_p(size_t first_count, size_t second_count)
{
    double ways = 1.0; /* to choose the first sample's ranks */
    for (size_t i = 1; i <= first_count; ++i) {
        ways *= (double)(second_count + i) / (double)i;
    }
    return fmin(1.0, 2.0 / ways);
}

size_t adamoe_pairs_needed(size_t tests, double alpha)
{
    size_t pairs = 1;
    while (pairs < 2000 && (double)tests * adamoe_smallest_paired_p(pairs) > alpha) {
        ++pairs;
    }
    return pairs;
}

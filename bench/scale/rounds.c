/*
 * Rounds of a calibration: how many, and what counts of them.
 */
#include "scale/measure.h"
#include "statistics/statistics.h"

#include <math.h>

double adamoe_rounds_median(const adamoe_rounds *rounds, const double seconds[ADAMOE_MOST_ROUNDS])
{
    double values[ADAMOE_MOST_ROUNDS];
    for (size_t i = 0; i < rounds->count; ++i) {
        values[i] = seconds[rounds->number[i]];
    }
    adamoe_sort(values, rounds->count);
    return adamoe_median(values, rounds->count);
}

size_t adamoe_rounds_planned(double cost, double budget)
{
    const double most = 2.0 / 3.0 * ADAMOE_MOST_ROUNDS;
    return (size_t)fmin(most, fmax(ADAMOE_LEAST_ROUNDS, floor(budget / cost)));
}

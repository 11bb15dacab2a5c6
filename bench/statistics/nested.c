/*
 * Measurements in groups.
 */
#include "statistics/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The median of a group, and the sum of squares about its mean. */
static double centre_of(const double *values, size_t count, double *sorted, double *squares)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        sum += values[i];
    }
    for (size_t i = 0; i < count; ++i) {
        const double away = values[i] - sum / (double)count;
        *squares += away * away;
    }
    memcpy(sorted, values, count * sizeof *sorted);
    adamoe_sort(sorted, count);
    return adamoe_median(sorted, count);
}

adamoe_status adamoe_nested_of(const double *values, size_t groups, size_t each, double level,
                               adamoe_nested *out)
{
    double *centre = calloc(groups + each, sizeof *centre), squares = 0.0;
    if (centre == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "statistics: out of memory");
    }
    for (size_t g = 0; g < groups; ++g) {
        centre[g] = centre_of(values + g * each, each, centre + groups, &squares);
    }
    *out = (adamoe_nested){.groups = adamoe_mean_of(centre, groups, level),
                           .within = each > 1 ? sqrt(squares / (double)(groups * (each - 1))) : (double)NAN};
    const double own = each > 1 ? out->within * out->within / (double)each : 0.0;
    const double all = out->groups.deviation * out->groups.deviation;
    out->between = groups > 1 ? sqrt(fmax(0.0, all - own)) : (double)NAN;
    free(centre);
    return adamoe_ok();
}

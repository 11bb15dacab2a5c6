/*
 * Bootstrap intervals by the percentile method.
 */
#include "splitmix64.h"
#include "statistics/statistics.h"

#include <stdlib.h>

static double locate(double *sample, size_t count, adamoe_location location)
{
    if (location == ADAMOE_LOCATION_MEDIAN) {
        adamoe_sort(sample, count);
        return adamoe_median(sample, count);
    }
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        sum += sample[i];
    }
    return sum / (double)count;
}

adamoe_status adamoe_bootstrap(const double *values, size_t count, adamoe_location location, double level,
                               size_t resamples, uint64_t seed, adamoe_interval *out)
{
    double *sample = calloc(count + 1, sizeof *sample), *located = calloc(resamples + 1, sizeof *located);
    adamoe_splitmix64 random = {seed};
    if (sample == NULL || located == NULL) {
        free(sample);
        free(located);
        return adamoe_error(ADAMOE_ENVIRONMENT, "bootstrap: out of memory");
    }
    for (size_t r = 0; r < resamples; ++r) {
        for (size_t i = 0; i < count; ++i) {
            sample[i] = values[adamoe_splitmix64_below(&random, count)];
        }
        located[r] = locate(sample, count, location);
    }
    adamoe_sort(located, resamples);
    const size_t outside = (size_t)(0.5 * (1.0 - level) * (double)resamples);
    *out = (adamoe_interval){located[outside], located[resamples - 1 - outside]};
    free(sample);
    free(located);
    return adamoe_ok();
}

/*
 * What repetitions of one benchmark say.
 */
#include "bench_summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL     0.95
#define RESAMPLES 2000
#define SEED      UINT64_C(1) /* the same repetitions give the same interval */

adamoe_status adamoe_estimate_median(const double *values, size_t count, adamoe_estimate *out)
{
    double *sorted = malloc(count * sizeof *sorted);
    if (sorted == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "statistics: out of memory");
    }
    memcpy(sorted, values, count * sizeof *sorted);
    adamoe_sort(sorted, count);
    out->median = adamoe_median(sorted, count);
    free(sorted);
    return adamoe_bootstrap(values, count, ADAMOE_LOCATION_MEDIAN, LEVEL, RESAMPLES, SEED, &out->interval);
}

adamoe_status adamoe_estimate_ratio(const double *numerator, const double *denominator, size_t count,
                                    adamoe_estimate *out)
{
    double *ratio = malloc(count * sizeof *ratio);
    if (ratio == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "statistics: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        ratio[i] = numerator[i] / denominator[i];
    }
    const adamoe_status status = adamoe_estimate_median(ratio, count, out);
    free(ratio);
    return status;
}

adamoe_status adamoe_bench_summarise(const double *seconds, const double *other, size_t count,
                                     adamoe_plan_work work, adamoe_limit limit, adamoe_bench_summary *out)
{
    *out = (adamoe_bench_summary){0};
    ADAMOE_TRY(adamoe_estimate_median(seconds, count, &out->seconds));
    ADAMOE_TRY(adamoe_estimate_ratio(other, seconds, count, &out->speedup));
    const double median = out->seconds.median;
    out->gflops = work.flops / median * 1e-9;
    out->gbytes_per_second = work.bytes / median * 1e-9;
    out->roofline_share = isfinite(limit.seconds) ? limit.seconds / median : NAN;
    out->share_without_overlap =
        isfinite(limit.seconds_without_overlap) ? limit.seconds_without_overlap / median : NAN;
    out->measurement_error = out->roofline_share > ADAMOE_LARGEST_SHARE;
    return adamoe_ok();
}

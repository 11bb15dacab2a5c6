/*
 * What repetitions of one benchmark say.
 */
#include "timing/summary.h"

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

/* Sorts share[count]. NaN unless all are finite: otherwise there is no limit. */
static adamoe_estimate estimate_share(double *share, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (!isfinite(share[i])) {
            return (adamoe_estimate){NAN, {NAN, NAN}};
        }
    }
    adamoe_sort(share, count);
    return (adamoe_estimate){adamoe_median(share, count), adamoe_median_interval(share, count, LEVEL)};
}

static adamoe_status estimate_shares(const double *seconds, const adamoe_limit *limit, size_t count,
                                     adamoe_bench_summary *out)
{
    double *share = malloc(count * sizeof *share);
    if (share == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "statistics: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        share[i] = limit[i].seconds / seconds[i];
    }
    out->roofline_share = estimate_share(share, count);
    for (size_t i = 0; i < count; ++i) {
        share[i] = limit[i].seconds_without_overlap / seconds[i];
    }
    out->share_without_overlap = estimate_share(share, count);
    free(share);
    return adamoe_ok();
}

static double finite_share(double limit, double seconds)
{
    return isfinite(limit) ? limit / seconds : NAN;
}

adamoe_status adamoe_bench_summarise(const double *seconds, const double *other, const adamoe_limit *limit,
                                     size_t count, adamoe_plan_work work, adamoe_limit best,
                                     adamoe_bench_summary *out)
{
    *out = (adamoe_bench_summary){0};
    ADAMOE_TRY(adamoe_estimate_median(seconds, count, &out->seconds));
    ADAMOE_TRY(adamoe_estimate_ratio(other, seconds, count, &out->speedup));
    ADAMOE_TRY(estimate_shares(seconds, limit, count, out));
    const double median = out->seconds.median;
    out->gflops = work.flops / median * 1e-9;
    out->gbytes_per_second = work.bytes / median * 1e-9;
    out->share_of_best = finite_share(best.seconds, median);
    out->share_of_best_without_overlap = finite_share(best.seconds_without_overlap, median);
    out->measurement_error = out->roofline_share.median > ADAMOE_LARGEST_SHARE;
    return adamoe_ok();
}

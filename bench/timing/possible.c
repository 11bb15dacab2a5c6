/*
 * Whether a time is possible.
 */
#include "timing/possible.h"

#include <math.h>
#include <stdbool.h>

static adamoe_status impossible(double share, const char *of)
{
    return adamoe_error(
        ADAMOE_DIFFERENCE,
        "impossible: %.3f of %s, where nothing can exceed %.2f: the peak misses what the kernel "
        "computes with, or the weights were not where they should be",
        share, of, ADAMOE_LARGEST_SHARE);
}

adamoe_status adamoe_judge_possible(const adamoe_bench_summary *summary,
                                    adamoe_possible_conditions conditions)
{
    const double rate = summary->gflops / conditions.peak_gflops;
    if (conditions.peak_gflops > 0.0 && rate > ADAMOE_LARGEST_SHARE) {
        return impossible(rate, "the arithmetic peak");
    }
    if (conditions.may_come_from_cache && !conditions.arithmetic_binds) {
        return adamoe_ok();
    }
    if (summary->share_of_best > ADAMOE_LARGEST_SHARE) {
        return impossible(summary->share_of_best, "the roofline of the best bursts");
    }
    const double low = summary->roofline_share.interval.low;
    const bool within_best =
        summary->share_of_best <= 1.0; /* then the bursts of the moments were disturbed */
    if (isfinite(low) && low > ADAMOE_LARGEST_SHARE && !within_best) {
        return impossible(low, "the roofline at least, with 95 % confidence");
    }
    return adamoe_ok();
}

/*
 * What repetitions of one benchmark say: median, interval, rates, shares of the roofline, and ratios to
 * another benchmark whose repetitions were taken in turn with these.
 */
#ifndef ADAMOE_TIMING_SUMMARY_H
#define ADAMOE_TIMING_SUMMARY_H

#include "timing/roofline.h"
#include "statistics/statistics.h"

/* A share above this is an error of measurement: nothing is faster than the machine. */
#define ADAMOE_LARGEST_SHARE 1.02

/* A median over repetitions with its 95 % bootstrap interval. */
typedef struct adamoe_estimate {
    double median;
    adamoe_interval interval;
} adamoe_estimate;

/* Errors: memory. */
adamoe_status adamoe_estimate_median(const double *values, size_t count, adamoe_estimate *out);

/* The median of numerator[i] / denominator[i]: repetition i of both was taken at nearly the same moment, so
 * that what disturbs both cancels. Errors: memory. */
adamoe_status adamoe_estimate_ratio(const double *numerator, const double *denominator, size_t count,
                                    adamoe_estimate *out);

/* What is divided into what: the roofline of a repetition's own moment into that repetition's time
 * (paired_limit.h), and, for the shares `of_best`, the roofline of the best bursts of the run into the median
 * time. The former judges a kernel, the latter the machine as well. */
typedef struct adamoe_bench_summary {
    adamoe_estimate seconds; /* of one call */
    double gflops, gbytes_per_second;
    adamoe_estimate roofline_share, share_without_overlap; /* medians, with order statistics as intervals */
    double share_of_best, share_of_best_without_overlap;   /* NaN where there is no limit, as those above */
    bool measurement_error;  /* the median of roofline_share is above ADAMOE_LARGEST_SHARE */
    adamoe_estimate speedup; /* the other one's time over this one's */
} adamoe_bench_summary;

/* `seconds`, `other` and `limit` are [count], at least 1; `other` may be `seconds`. Errors: memory. */
adamoe_status adamoe_bench_summarise(const double *seconds, const double *other, const adamoe_limit *limit,
                                     size_t count, adamoe_plan_work work, adamoe_limit best,
                                     adamoe_bench_summary *out);

#endif

/*
 * Whether something became slower: the test, the size of the effect and its interval, all of the same kind.
 * Times are compared as logarithms, because a slowdown multiplies; a shift of a logarithm is a ratio.
 */
#include "compare/comparison.h"

#include <math.h>

/* The effect is the log of a ratio of times. */
static adamoe_status add(adamoe_result_comparison *comparison, const char *subject,
                         const adamoe_rank_test *test, double smallest_p, double effect,
                         adamoe_interval interval)
{
    adamoe_finding f = {.aspect = ADAMOE_ASPECT_SPEED,
                        .measure = "time",
                        .tested = true,
                        .worse = effect > 0.0,
                        .relevant = fabs(effect) >= log1p(comparison->options.minimum_effect),
                        .effect = exp(effect),
                        .interval = {exp(interval.low), exp(interval.high)},
                        .p = test->p,
                        .smallest_p = smallest_p};
    (void)snprintf(f.subject, sizeof f.subject, "%s", subject);
    return adamoe_add_finding(comparison, &f);
}

adamoe_status adamoe_compare_pairs(adamoe_result_comparison *comparison, const char *subject,
                                   const double *log_ratio, size_t pairs)
{
    adamoe_rank_test test;
    adamoe_interval interval;
    double centre;
    ADAMOE_TRY(adamoe_signed_rank_test(log_ratio, pairs, &test));
    ADAMOE_TRY(adamoe_signed_rank_centre(log_ratio, pairs, 0.95, &centre, &interval));
    return add(comparison, subject, &test, adamoe_smallest_paired_p(pairs), centre, interval);
}

adamoe_status adamoe_compare_samples(adamoe_result_comparison *comparison, const char *subject,
                                     const double *base, size_t base_count, const double *now,
                                     size_t now_count)
{
    adamoe_rank_test test;
    adamoe_interval interval;
    double shift;
    ADAMOE_TRY(adamoe_rank_sum_test(now, now_count, base, base_count, &test));
    ADAMOE_TRY(adamoe_rank_sum_shift(now, now_count, base, base_count, 0.95, &shift, &interval));
    return add(comparison, subject, &test, adamoe_smallest_unpaired_p(base_count, now_count), shift,
               interval);
}

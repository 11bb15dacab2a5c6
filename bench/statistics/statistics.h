/*
 * Statistics of repeated measurements: order statistics, tests of ranks, what survives many tests at once,
 * and intervals. Nothing here draws a conclusion.
 *
 * All p are two-sided. A function that takes [count] values needs finite ones.
 */
#ifndef ADAMOE_STATISTICS_STATISTICS_H
#define ADAMOE_STATISTICS_STATISTICS_H

#include "adamoe.h"

/* ------------------------------------------------------------------------------------------ statistics.c */

/* Ascending; no NaN among them. */
void adamoe_sort(double *values, size_t count);

/* Of sorted values, at least one: the middle one, or the mean of the two in the middle. */
double adamoe_median(const double *sorted, size_t count);

/* Twice the rank of each value among all of them, from 2 on; equal values share the mean of their ranks,
 * which is why twice: the result is whole. *ties receives the sum of t^3 - t over groups of t equal values.
 * Errors: memory. */
adamoe_status adamoe_double_ranks(const double *values, size_t count, uint32_t *ranks, double *ties);

/* P(Z > |z|) * 2 of a standard normal Z. */
double adamoe_normal_p(double z);

typedef struct adamoe_interval {
    double low, high;
} adamoe_interval;

/* The narrowest interval between two of the sorted values, equally far from the ends, that contains the
 * median of what they were drawn from with a probability of at least `level`, whatever the distribution:
 * binomial. Infinite where there are too few values for it, which is below 6 for 0.95. */
adamoe_interval adamoe_median_interval(const double *sorted, size_t count, double level);

/* ----------------------------------------------------------------------------------------- signed_rank.c */

typedef struct adamoe_rank_test {
    double statistic; /* sum of the ranks of the positive values; U of the first sample */
    double p;
    size_t used; /* values that were ranked */
    bool exact;  /* p is of the permutation distribution, not of its normal approximation */
} adamoe_rank_test;

/* Wilcoxon's signed-rank test that values are symmetric about 0 (Wilcoxon 1945). Zeros are dropped, as
 * Wilcoxon did and Pratt did not; where nothing is left, p is 1. Exact up to 200 values, ties included: the
 * distribution of the ranks at hand under random signs. Beyond: normal, with the correction for ties and for
 * continuity. Errors: memory. */
adamoe_status adamoe_signed_rank_test(const double *values, size_t count, adamoe_rank_test *out);

/* Hodges and Lehmann's estimate of the centre that goes with the test, the median of the means of all pairs
 * of values, each with itself too; and the interval of centres that the test at 1 - `level` does not reject
 * (values without ties), infinite where there are too few values for it. 1 to 200 values. Errors: memory. */
adamoe_status adamoe_signed_rank_centre(const double *values, size_t count, double level, double *centre,
                                        adamoe_interval *interval);

/* -------------------------------------------------------------------------------------------- rank_sum.c */

/* Mann and Whitney's test that two independent samples come from one distribution. Exact up to 60 values
 * in both, ties included; beyond, normal with the corrections for ties and continuity. An empty sample has p
 * 1. Errors: memory. */
adamoe_status adamoe_rank_sum_test(const double *first, size_t first_count, const double *second,
                                   size_t second_count, adamoe_rank_test *out);

/* The estimate that goes with the test, by how much the first sample lies above the second: the median of all
 * differences of a value of the first and one of the second; and the interval of shifts that the test at
 * 1 - `level` does not reject (values without ties), infinite where there are too few values for it. Neither
 * sample is empty. Errors: memory. */
adamoe_status adamoe_rank_sum_shift(const double *first, size_t first_count, const double *second,
                                    size_t second_count, double level, double *shift,
                                    adamoe_interval *interval);

/* -------------------------------------------------------------------------------------- multiple_tests.c */

/* Holm's step-down correction (Holm 1979): adjusted[i] is p[i] times the number of hypotheses that are not
 * yet rejected when its turn comes, at most 1, and never less than that of a smaller p. What has adjusted[i]
 * <= alpha is rejected, with a probability of at most alpha that any of them was true. Errors: memory. */
adamoe_status adamoe_holm(const double *p, size_t count, double *adjusted);

/* The smallest p that the signed-rank test can give for so many pairs, and the rank-sum test for two samples:
 * all differences in one direction. */
double adamoe_smallest_paired_p(size_t pairs);
double adamoe_smallest_unpaired_p(size_t first_count, size_t second_count);

/* The fewest pairs whose smallest attainable p is at most alpha after Holm's correction
 * over so many tests. */
size_t adamoe_pairs_needed(size_t tests, double alpha);

/* ------------------------------------------------------------------------------------------ proportions.c */

/* McNemar's exact test on paired answers: `lost` questions that only the first model answered right, `won`
 * ones that only the second did. Binomial with 1/2. */
double adamoe_mcnemar(size_t lost, size_t won);

/* Two models' answers to the same questions. */
typedef struct adamoe_paired_answers {
    size_t questions, lost, won; /* only the first was right; only the second */
    double difference;           /* of the accuracies, second less first */
    adamoe_interval interval;    /* 95 %, paired bootstrap */
    double p;                    /* McNemar's */
} adamoe_paired_answers;

/* Whether each of [questions] answers was right, at least one. The same seed gives the same interval. Errors:
 * memory. */
adamoe_status adamoe_pair_answers(const bool *first, const bool *second, size_t questions, uint64_t seed,
                                  adamoe_paired_answers *out);

/* ----------------------------------------------------------------------------------------- student.c */

/* P(|T| <= t) of Student's T with `degrees` degrees of freedom, at least one; t >= 0. */
double adamoe_student_inside(double t, size_t degrees);

/* The t with P(|T| <= t) = level, 0 < level < 1. */
double adamoe_student_quantile(double level, size_t degrees);

typedef struct adamoe_mean {
    double mean, deviation;   /* of the sample, n - 1; NaN for fewer than two */
    adamoe_interval interval; /* mean +- t deviation / sqrt(n); infinite for fewer than two */
    double p;                 /* of the t-test that the mean is 0; 1 for fewer than two */
} adamoe_mean;

/* Of [count] values, at least one, that are taken for independent and normal. */
adamoe_mean adamoe_mean_of(const double *values, size_t count, double level);

/* ---------------------------------------------------------------------------------------------- nested.c */

/* Measurements in groups that differ, as the runs of one process do from those of another. */
typedef struct adamoe_nested {
    adamoe_mean groups; /* of the groups' medians: each group counts once */
    double within;      /* deviation of one measurement about its group, pooled; NaN for one in each */
    double between;     /* deviation of the groups themselves, by analysis of variance; NaN for one group */
} adamoe_nested;

/* values[groups * each], group by group. The interval is Student's over the groups (Student 1908): the deviation of
 * their medians contains what differs between groups and what is left of the differences within, so it is as wide as
 * both make it, whatever their sizes; more measurements in a group do not narrow it below what the groups differ. This
 * is the design of Kalibera and Jones, Rigorous benchmarking in reasonable time (ISMM 2013), with the process as the
 * highest level. It holds 95 % for groups that are normal, and more for symmetric ones of heavier tails (Benjamini
 * 1983). Errors: memory. */
adamoe_status adamoe_nested_of(const double *values, size_t groups, size_t each, double level,
                               adamoe_nested *out);

/* ------------------------------------------------------------------------------------------- bootstrap.c */

/* Percentile interval of the median or the mean of values, from `resamples` samples drawn with replacement;
 * the same seed gives the same interval. With the differences of paired values it is the paired bootstrap.
 * Errors: memory. */
typedef enum adamoe_location { ADAMOE_LOCATION_MEDIAN, ADAMOE_LOCATION_MEAN } adamoe_location;

adamoe_status adamoe_bootstrap(const double *values, size_t count, adamoe_location location, double level,
                               size_t resamples, uint64_t seed, adamoe_interval *out);

#endif

/*
 * Order statistics, tests and intervals: against SciPy where there is a golden value (tests/golden/
 * statistics.py made them), by hand where the answer is small enough, and by simulation for what is said
 * about probabilities. Every simulation has a seed, so that it cannot fail by chance.
 */
#include "test.h"
#include "statistics/statistics.h"
#include "splitmix64.h"

#include <jansson.h>

static void sorts_ascending(void **state)
{
    (void)state;
    double values[] = {3.0, -1.0, 2.0, -HUGE_VAL, 2.0};
    const double expected[] = {-HUGE_VAL, -1.0, 2.0, 2.0, 3.0};
    adamoe_sort(values, 5);
    assert_memory_equal(values, expected, sizeof expected);
    adamoe_sort(values, 0);
}

static void takes_the_middle(void **state)
{
    (void)state;
    const double values[] = {1.0, 2.0, 4.0, 8.0};
    assert_true(adamoe_median(values, 1) == 1.0);
    assert_true(adamoe_median(values, 2) == 1.5);
    assert_true(adamoe_median(values, 3) == 2.0);
    assert_true(adamoe_median(values, 4) == 3.0);
}

/* Ranks of a table of binomial probabilities: n = 11 takes the second and the tenth, 0.988; n = 6 the first
 * and the last, 0.969; n = 5 has no interval of 0.95. */
static void order_statistics_hold_the_median(void **state)
{
    (void)state;
    double values[41];
    for (size_t i = 0; i < 41; ++i) {
        values[i] = (double)(i + 1);
    }
    const struct {
        size_t count;
        double low, high;
    } expected[] = {{6, 1, 6}, {8, 1, 8}, {9, 2, 8}, {11, 2, 10}, {20, 6, 15}, {25, 8, 18}, {41, 14, 28}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; ++i) {
        const adamoe_interval interval = adamoe_median_interval(values, expected[i].count, 0.95);
        assert_true(interval.low == expected[i].low && interval.high == expected[i].high);
    }
    assert_true(isinf(adamoe_median_interval(values, 5, 0.95).high));
    assert_true(isinf(adamoe_median_interval(values, 0, 0.95).low));
}

static void ranks_share_ties(void **state)
{
    (void)state;
    const double values[] = {5.0, 1.0, 5.0, 2.0, 5.0, 2.0};
    const uint32_t expected[] = {10, 2, 10, 5, 10, 5};
    uint32_t ranks[6];
    double ties;
    assert_ok(adamoe_double_ranks(values, 6, ranks, &ties));
    assert_memory_equal(ranks, expected, sizeof expected);
    assert_true(ties == 24.0 + 6.0);
}

/* ------------------------------------------------------------------------------------------------- golden */

static json_t *golden(const char *key)
{
    json_error_t error;
    json_t *document = json_load_file(SOURCE_PATH("tests/golden/statistics.json"), 0, &error);
    if (document == NULL) {
        fail_msg("statistics.json: %s", error.text);
    }
    json_t *part = json_incref(json_object_get(document, key));
    json_decref(document);
    assert_non_null(part);
    return part;
}

/* Values in an array of their own length, so that the sanitizers see a read past the end. */
static double *numbers(const json_t *list, size_t *count)
{
    *count = json_array_size(list);
    double *values = calloc(*count, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < *count; ++i) {
        values[i] = json_number_value(json_array_get(list, i));
    }
    return values;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* Both sum at most some thousand terms of at most 1 in double. */
static void assert_close(double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-11 * (expected + 1e-3))) {
        fail_msg("%.17g, expected %.17g", got, expected);
    }
}

static void signed_ranks_are_those_of_scipy(void **state)
{
    (void)state;
    json_t *cases = golden("signed_rank");
    assert_in_range(json_array_size(cases), 10, 100);
    size_t i;
    const json_t *one;
    json_array_foreach(cases, i, one)
    {
        size_t count;
        double *values = numbers(json_object_get(one, "values"), &count);
        adamoe_rank_test got;
        assert_ok(adamoe_signed_rank_test(values, count, &got));
        assert_true(got.exact == (got.used <= 200));
        assert_true(got.statistic == number(one, "statistic"));
        assert_close(got.p, number(one, "p"));
        free(values);
    }
    json_decref(cases);
}

static void rank_sums_are_those_of_scipy(void **state)
{
    (void)state;
    json_t *cases = golden("rank_sum");
    assert_in_range(json_array_size(cases), 9, 100);
    size_t i;
    const json_t *one;
    json_array_foreach(cases, i, one)
    {
        size_t m, n;
        double *first = numbers(json_object_get(one, "first"), &m);
        double *second = numbers(json_object_get(one, "second"), &n);
        adamoe_rank_test got;
        assert_ok(adamoe_rank_sum_test(first, m, second, n, &got));
        assert_true(got.exact == (m + n <= 60));
        assert_true(got.statistic == number(one, "statistic"));
        assert_close(got.p, number(one, "p"));
        free(first);
        free(second);
    }
    json_decref(cases);
}

static void mcnemar_is_that_of_scipy(void **state)
{
    (void)state;
    json_t *cases = golden("mcnemar");
    size_t i;
    const json_t *one;
    json_array_foreach(cases, i, one)
    {
        assert_close(adamoe_mcnemar((size_t)number(one, "lost"), (size_t)number(one, "won")),
                     number(one, "p"));
    }
    json_decref(cases);
}

static void the_centre_is_the_median_of_means(void **state)
{
    (void)state;
    json_t *one = golden("centre");
    size_t count;
    double *values = numbers(json_object_get(one, "values"), &count), centre;
    adamoe_interval interval;
    assert_ok(adamoe_signed_rank_centre(values, count, 0.95, &centre, &interval));
    assert_close(centre, number(one, "centre"));
    assert_true(interval.low < centre && centre < interval.high);
    free(values);
    json_decref(one);
}

/* ------------------------------------------------------------------------------------------------ by hand */

/* The interval holds exactly the centres that the test does not reject: the test at 5 % of the values less
 * the end of the interval changes its mind there. */
static void the_interval_inverts_the_test(void **state)
{
    (void)state;
    const double values[] = {0.3, -0.11, 0.92, 1.27, 0.55, -0.4, 0.78, 1.9, 0.06, 0.64};
    double shifted[10], centre;
    adamoe_interval interval;
    adamoe_rank_test test;
    assert_ok(adamoe_signed_rank_centre(values, 10, 0.95, &centre, &interval));
    for (int inside = 0; inside <= 1; ++inside) {
        const double low = interval.low + (inside ? 1e-9 : -1e-9);
        const double high = interval.high + (inside ? -1e-9 : 1e-9);
        for (size_t i = 0; i < 10; ++i) {
            shifted[i] = values[i] - low;
        }
        assert_ok(adamoe_signed_rank_test(shifted, 10, &test));
        assert_true((test.p > 0.05) == (inside == 1));
        for (size_t i = 0; i < 10; ++i) {
            shifted[i] = values[i] - high;
        }
        assert_ok(adamoe_signed_rank_test(shifted, 10, &test));
        assert_true((test.p > 0.05) == (inside == 1));
    }
    assert_ok(adamoe_signed_rank_centre(values, 5, 0.95, &centre, &interval)); /* 2 / 2^5 > 0.05 */
    assert_true(isinf(interval.low) && isinf(interval.high));
}

/* The same for two samples, on both sides of where the distribution becomes normal. */
static void the_shift_inverts_the_test(void **state)
{
    (void)state;
    adamoe_splitmix64 random = {3};
    static const size_t sizes[][2] = {{7, 9}, {20, 20}, {45, 50}};
    for (size_t s = 0; s < 3; ++s) {
        const size_t m = sizes[s][0], n = sizes[s][1];
        double first[45], second[50], shifted[45], shift;
        adamoe_interval interval;
        adamoe_rank_test test;
        for (size_t i = 0; i < m; ++i) {
            first[i] = 0.5 + adamoe_splitmix64_normal(&random);
        }
        for (size_t i = 0; i < n; ++i) {
            second[i] = adamoe_splitmix64_normal(&random);
        }
        assert_ok(adamoe_rank_sum_shift(first, m, second, n, 0.95, &shift, &interval));
        assert_true(interval.low < shift && shift < interval.high);
        const double places[] = {interval.low - 1e-9, interval.low + 1e-9, interval.high - 1e-9,
                                 interval.high + 1e-9};
        double p[4];
        for (size_t place = 0; place < 4; ++place) {
            for (size_t i = 0; i < m; ++i) {
                shifted[i] = first[i] - places[place];
            }
            assert_ok(adamoe_rank_sum_test(shifted, m, second, n, &test));
            p[place] = test.p;
        }
        /* The normal interval has no correction for continuity: half a rank, and one rank of rounding, of a
         * deviation of sqrt(mn(m+n+1)/12) = 134 change a p of 0.05 by 2 * 0.0584 * 1.5 / 134 at most. */
        const double tolerance = m + n > 60 ? 0.0014 : 0.0;
        assert_true(p[0] <= 0.05 + tolerance && p[1] > 0.05 - tolerance);
        assert_true(p[2] > 0.05 - tolerance && p[3] <= 0.05 + tolerance);
    }
    double shift;
    adamoe_interval interval;
    const double few[] = {1.0, 2.0, 3.0};
    assert_ok(adamoe_rank_sum_shift(few, 3, few, 2, 0.95, &shift, &interval));
    assert_true(isinf(interval.low) && isinf(interval.high) && shift == 0.5);
}

static void zeros_are_dropped(void **state)
{
    (void)state;
    const double values[] = {0.0, 1.0, 0.0, 2.0, 3.0};
    adamoe_rank_test test;
    assert_ok(adamoe_signed_rank_test(values, 5, &test));
    assert_int_equal(test.used, 3);
    assert_true(test.statistic == 6.0 && test.p == 0.25);
    assert_ok(adamoe_signed_rank_test(values, 1, &test));
    assert_true(test.used == 0 && test.p == 1.0);
    assert_ok(adamoe_rank_sum_test(values, 0, values, 5, &test));
    assert_true(test.p == 1.0);
}

/* Sorted: 1/128 twice (times 5), 1/32 (times 3), 1/16 (times 2), 1/2 (times 1). */
static void holm_steps_down(void **state)
{
    (void)state;
    const double p[] = {0.0078125, 0.0625, 0.03125, 0.0078125, 0.5}; /* exact in binary */
    const double expected[] = {0.0390625, 0.125, 0.09375, 0.0390625, 0.5};
    double adjusted[5];
    assert_ok(adamoe_holm(p, 5, adjusted));
    assert_memory_equal(adjusted, expected, sizeof expected);
    const double large[] = {0.5, 0.75, 0.875};
    assert_ok(adamoe_holm(large, 3, adjusted));
    assert_true(adjusted[0] == 1.0 && adjusted[1] == 1.0 && adjusted[2] == 1.0);
}

/* What is said to be attainable is attained by the test itself. */
static void the_smallest_p_is_attained(void **state)
{
    (void)state;
    double first[12], second[12];
    adamoe_rank_test test;
    for (size_t i = 0; i < 12; ++i) {
        first[i] = (double)i + 1.0;
        second[i] = (double)i + 100.0;
    }
    for (size_t n = 1; n <= 12; ++n) {
        assert_ok(adamoe_signed_rank_test(first, n, &test));
        assert_true(test.p == adamoe_smallest_paired_p(n));
        assert_ok(adamoe_rank_sum_test(first, n, second, 13 - n, &test));
        assert_close(test.p, adamoe_smallest_unpaired_p(n, 13 - n));
    }
    assert_int_equal(adamoe_pairs_needed(1, 0.05), 6); /* 2 / 2^5 = 0.0625 */
    assert_int_equal(adamoe_pairs_needed(8, 0.05), 9); /* 16 / 2^8 = 0.0625 */
    for (size_t tests = 1; tests < 50; ++tests) {
        const size_t pairs = adamoe_pairs_needed(tests, 0.01);
        assert_true((double)tests * adamoe_smallest_paired_p(pairs) <= 0.01);
        assert_true((double)tests * adamoe_smallest_paired_p(pairs - 1) > 0.01);
    }
}

/* --------------------------------------------------------------------------------------------- simulation */

#define TRIALS 1000

/* Of TRIALS samples from a normal distribution the 90 % interval holds its mean about 900 times; with 20
 * values a percentile interval holds it somewhat less often, in theory 88 % for the mean. Six standard
 * deviations of a count: sqrt(1000 * 0.9 * 0.1) * 6 = 57. */
static void bootstrap_intervals_hold_the_truth(void **state)
{
    (void)state;
    adamoe_splitmix64 random = {7};
    double values[20];
    adamoe_interval first, again;
    for (int location = ADAMOE_LOCATION_MEDIAN; location <= ADAMOE_LOCATION_MEAN; ++location) {
        int held = 0;
        for (uint64_t trial = 0; trial < TRIALS; ++trial) {
            for (size_t i = 0; i < 20; ++i) {
                values[i] = 3.0 + adamoe_splitmix64_normal(&random);
            }
            assert_ok(adamoe_bootstrap(values, 20, (adamoe_location)location, 0.9, 200, trial, &first));
            held += first.low <= 3.0 && 3.0 <= first.high;
        }
        assert_in_range(held, 880 - 57, 900 + 57);
    }
    assert_ok(adamoe_bootstrap(values, 20, ADAMOE_LOCATION_MEAN, 0.9, 200, 5, &first));
    assert_ok(adamoe_bootstrap(values, 20, ADAMOE_LOCATION_MEAN, 0.9, 200, 5, &again));
    assert_memory_equal(&first, &again, sizeof first);
}

/* Five true null hypotheses at a time: with Holm's correction one of them is rejected in at most 5 % of the
 * trials, without it in 1 - 0.95^5 = 23 %. */
static void holm_bounds_the_family(void **state)
{
    (void)state;
    adamoe_splitmix64 random = {11};
    size_t with = 0, without = 0;
    for (size_t trial = 0; trial < TRIALS; ++trial) {
        double p[5], adjusted[5], values[14];
        bool any = false, any_adjusted = false;
        for (size_t test = 0; test < 5; ++test) {
            adamoe_rank_test result;
            for (size_t i = 0; i < 14; ++i) {
                values[i] = adamoe_splitmix64_normal(&random);
            }
            assert_ok(adamoe_signed_rank_test(values, 14, &result));
            p[test] = result.p;
        }
        assert_ok(adamoe_holm(p, 5, adjusted));
        for (size_t test = 0; test < 5; ++test) {
            any = any || p[test] <= 0.05;
            any_adjusted = any_adjusted || adjusted[test] <= 0.05;
        }
        without += any;
        with += any_adjusted;
    }
    assert_in_range(with, 10, 50 + 41); /* six deviations of a count of probability 0.05 */
    assert_in_range(without, 226 - 79, 226 + 79);
}

/* SciPy 1.17.1: t.ppf(0.975, degrees) and P(|T| <= 1.7). */
static void student_is_that_of_scipy(void **state)
{
    (void)state;
    static const struct {
        size_t degrees;
        double quantile, inside;
    } known[] = {{1, 12.706204736174694, 0.6614939453393346}, {2, 4.302652729749462, 0.7687665737984288},
                 {3, 3.1824463052837078, 0.8123093584465899}, {4, 2.7764451051977934, 0.83564505872995},
                 {5, 2.5705818356363146, 0.850123213151676},  {9, 2.262157162798205, 0.8766523378561761},
                 {30, 2.0422724563012378, 0.9005221244114832}};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        assert_true(fabs(adamoe_student_quantile(0.95, known[i].degrees) / known[i].quantile - 1.0) < 1e-12);
        assert_true(fabs(adamoe_student_inside(1.7, known[i].degrees) - known[i].inside) < 1e-14);
    }
}

/* SciPy's ttest_1samp of these values. */
static void a_mean_has_students_interval(void **state)
{
    (void)state;
    const double values[] = {0.5, -1.25, 2.0, 0.75, 1.5}, same[] = {0.25, 0.25};
    adamoe_mean m = adamoe_mean_of(values, 5, 0.95);
    assert_true(m.mean == 0.7);
    assert_true(fabs(m.deviation - 1.2424773639789177) < 1e-14);
    assert_true(fabs(m.interval.low + 0.8427394114357367) < 1e-12);
    assert_true(fabs(m.interval.high - 2.2427394114357364) < 1e-12);
    assert_true(fabs(m.p - 0.27624097799352) < 1e-13);
    m = adamoe_mean_of(same, 2, 0.95);
    assert_true(m.mean == 0.25 && m.deviation == 0.0 && m.p == 0.0 && m.interval.low == 0.25);
    m = adamoe_mean_of(values, 1, 0.95);
    assert_true(m.mean == 0.5 && isnan(m.deviation) && m.p == 1.0);
    assert_true(isinf(m.interval.low) && isinf(m.interval.high));
}

static void answers_are_paired(void **state)
{
    (void)state;
    const bool first[] = {true, true, false, false, true, false, false, false};
    const bool second[] = {true, false, true, true, true, true, false, true};
    adamoe_paired_answers a, again;
    assert_ok(adamoe_pair_answers(first, second, 8, 3, &a));
    assert_int_equal(a.questions, 8);
    assert_int_equal(a.lost, 1);
    assert_int_equal(a.won, 4);
    assert_true(a.difference == 3.0 / 8.0);
    assert_true(fabs(a.p - 2.0 * (1.0 + 5.0) / 32.0) < 1e-12);
    assert_true(a.interval.low < a.difference && a.difference < a.interval.high);
    assert_ok(adamoe_pair_answers(first, second, 8, 3, &again));
    assert_memory_equal(&a.interval, &again.interval, sizeof a.interval);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_ascending),
        cmocka_unit_test(takes_the_middle),
        cmocka_unit_test(order_statistics_hold_the_median),
        cmocka_unit_test(ranks_share_ties),
        cmocka_unit_test(signed_ranks_are_those_of_scipy),
        cmocka_unit_test(rank_sums_are_those_of_scipy),
        cmocka_unit_test(mcnemar_is_that_of_scipy),
        cmocka_unit_test(student_is_that_of_scipy),
        cmocka_unit_test(a_mean_has_students_interval),
        cmocka_unit_test(answers_are_paired),
        cmocka_unit_test(the_centre_is_the_median_of_means),
        cmocka_unit_test(the_interval_inverts_the_test),
        cmocka_unit_test(the_shift_inverts_the_test),
        cmocka_unit_test(zeros_are_dropped),
        cmocka_unit_test(holm_steps_down),
        cmocka_unit_test(the_smallest_p_is_attained),
        cmocka_unit_test(bootstrap_intervals_hold_the_truth),
        cmocka_unit_test(holm_bounds_the_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

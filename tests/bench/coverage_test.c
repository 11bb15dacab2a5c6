/*
 * Whether 95 % means 95 %: intervals of `adamoe reproduce' on synthetic noise whose truth is known. A machine's own day
 * decides nothing here; every run has a seed. bench/reproduce/coverage.sh asks the machine.
 *
 * The noise is what was seen: a round deviates within its process, and a process, for as long as it lives, from others
 * of the same program. The ratio of two sides is as often too large as too small, so all of it is symmetric.
 */
#include "test.h"
#include "splitmix64.h"
#include "statistics/statistics.h"

#define RUNS  4000
#define LEVEL 0.95
#define MOST  200

typedef struct noise {
    const char *name;
    double within, between; /* deviations of the logarithm of a ratio */
    double burst; /* probability that a process meets a burst, which shifts its ratio by up to 30 % */
} noise;

static double uniform(adamoe_splitmix64 *random)
{
    return ldexp((double)(adamoe_splitmix64_next(random) >> 11), -53);
}

static void simulate(adamoe_splitmix64 *random, const noise *n, double truth, size_t processes, size_t rounds,
                     double *out)
{
    for (size_t p = 0; p < processes; ++p) {
        const double burst = uniform(random) < n->burst ? 0.6 * (uniform(random) - 0.5) : 0.0;
        const double process = truth + n->between * adamoe_splitmix64_normal(random) + burst;
        for (size_t r = 0; r < rounds; ++r) {
            out[p * rounds + r] = process + n->within * adamoe_splitmix64_normal(random);
        }
    }
}

static bool contains(adamoe_interval interval, double truth)
{
    return interval.low <= truth && truth <= interval.high;
}

/* How many of RUNS intervals contain the truth, and their mean width. */
static size_t cover(const noise *n, size_t processes, size_t rounds, double *width)
{
    adamoe_splitmix64 random = {processes * 100 + rounds};
    double values[MOST];
    size_t covered = 0;
    *width = 0.0;
    for (size_t run = 0; run < RUNS; ++run) {
        const double truth = 0.4 * (uniform(&random) - 0.5);
        adamoe_nested nested;
        simulate(&random, n, truth, processes, rounds, values);
        assert_ok(adamoe_nested_of(values, processes, rounds, LEVEL, &nested));
        covered += contains(nested.groups.interval, truth);
        *width += (nested.groups.interval.high - nested.groups.interval.low) / RUNS;
    }
    return covered;
}

/* Of a count with the probability LEVEL. */
static double deviation(void)
{
    return sqrt(RUNS * LEVEL * (1.0 - LEVEL));
}

static const noise noises[] = {{"quiet", 0.01, 0.002, 0.0},
                               {"processes differ little", 0.02, 0.02, 0.0},
                               {"processes differ much", 0.01, 0.08, 0.0},
                               {"bursts", 0.02, 0.03, 0.1}};

/* Normal noise has exactly the level, and bursts make tails heavier, which Student's interval survives. */
static void intervals_over_processes_hold_their_level(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{3, 2}, {6, 1}, {6, 2}, {6, 9}, {20, 3}};
    for (size_t n = 0; n < sizeof noises / sizeof *noises; ++n) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
            double width;
            const size_t covered = cover(&noises[n], sizes[s][0], sizes[s][1], &width);
            print_message("%-23s %2zu processes of %zu rounds: %zu of %d intervals cover, mean width %.3f\n",
                          noises[n].name, sizes[s][0], sizes[s][1], covered, RUNS, width);
            assert_true((double)covered >= LEVEL * RUNS - 3.0 * deviation());
            if (noises[n].burst == 0.0) {
                assert_true((double)covered <= LEVEL * RUNS + 3.0 * deviation());
            }
        }
    }
}

/* What was claimed before: rounds of one process, which do not know how processes differ. */
static void rounds_of_one_process_do_not(void **state)
{
    (void)state;
    adamoe_splitmix64 random = {7};
    double values[9], centre;
    size_t covered = 0;
    for (size_t run = 0; run < RUNS; ++run) {
        adamoe_interval interval;
        simulate(&random, &noises[2], 0.1, 1, 9, values);
        assert_ok(adamoe_signed_rank_centre(values, 9, LEVEL, &centre, &interval));
        covered += contains(interval, 0.1);
    }
    print_message("%-23s one process of 9 rounds: %zu of %d intervals cover\n", noises[2].name, covered,
                  RUNS);
    assert_true(covered < RUNS / 2);
}

/* By hand: groups 1 3 | 2 6, medians 2 and 4. */
static void deviations_are_of_their_level(void **state)
{
    (void)state;
    static const double values[] = {1.0, 3.0, 2.0, 6.0};
    adamoe_nested nested;
    assert_ok(adamoe_nested_of(values, 2, 2, LEVEL, &nested));
    assert_true(nested.groups.mean == 3.0 && fabs(nested.groups.deviation - sqrt(2.0)) < 1e-15);
    assert_true(fabs(nested.within - sqrt((2.0 + 8.0) / 2.0)) < 1e-15);
    assert_true(nested.between == 0.0); /* 2 - 5 / 2 is below it */
    assert_ok(adamoe_nested_of(values, 4, 1, LEVEL, &nested));
    assert_true(isnan(nested.within) && fabs(nested.between - nested.groups.deviation) < 1e-15);
    adamoe_splitmix64 random = {3};
    double many[MOST];
    simulate(&random, &noises[2], 0.0, 100, 2, many);
    assert_ok(adamoe_nested_of(many, 100, 2, LEVEL, &nested));
    assert_true(fabs(nested.between / 0.08 - 1.0) < 0.2 && fabs(nested.within / 0.01 - 1.0) < 0.2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_over_processes_hold_their_level),
        cmocka_unit_test(rounds_of_one_process_do_not),
        cmocka_unit_test(deviations_are_of_their_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

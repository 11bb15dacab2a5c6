/*
 * How often `adamoe gate' is wrong, by simulation: its way of taking measurements and its judgement, on
 * synthetic noise. What a machine does on the day of a test decides nothing here; every run has a seed.
 *
 * The noise has the three parts that were seen on shared machines: each measurement varies; some measurements
 * meet a burst of other load; and each process, for as long as it lives, is faster or slower than another one
 * of the same program.
 */
#include "test.h"
#include "compare/comparison.h"
#include "splitmix64.h"

#define CASES  8
#define ROUNDS 20
#define PAIRS  11
#define RUNS   400

typedef struct noise {
    double measurement; /* deviation of the log of one measurement */
    double process;     /* deviation of the log of a process's speed */
    double burst;       /* probability of a burst, which takes 30 to 130 % more */
} noise;

static const noise quiet = {0.01, 0.005, 0.02}, shared = {0.04, 0.02, 0.15};
static const noise differing_processes = {0.01, 0.01, 0.02};

static double uniform(adamoe_splitmix64 *random)
{
    return ldexp((double)(adamoe_splitmix64_next(random) >> 11), -53);
}

static double measurement(adamoe_splitmix64 *random, const noise *n, double process)
{
    const double burst = uniform(random) < n->burst ? log(1.3 + uniform(random)) : 0.0;
    return process + n->measurement * adamoe_splitmix64_normal(random) + burst;
}

/* log(new / base) of all pairs of one case in one round; the new side takes `slowdown` more. */
static void simulate_round(adamoe_splitmix64 *random, const noise *n, double slowdown, double pair[PAIRS])
{
    const double base = n->process * adamoe_splitmix64_normal(random);
    const double now = n->process * adamoe_splitmix64_normal(random) + log1p(slowdown);
    for (size_t p = 0; p < PAIRS; ++p) {
        pair[p] = measurement(random, n, now) - measurement(random, n, base);
    }
}

static void simulate_case(adamoe_splitmix64 *random, const noise *n, double slowdown, double ratio[ROUNDS])
{
    double pair[PAIRS];
    for (size_t r = 0; r < ROUNDS; ++r) {
        simulate_round(random, n, slowdown, pair);
        adamoe_sort(pair, PAIRS);
        ratio[r] = adamoe_median(pair, PAIRS);
    }
}

/* One run of the gate: the first case is slowed, the others are not. True where the first is flagged; *others
 * counts the others that are. */
static bool run_gate(adamoe_splitmix64 *random, const noise *n, double slowdown, size_t *others)
{
    adamoe_result_comparison comparison = {.options = adamoe_comparison_defaults};
    for (size_t c = 0; c < CASES; ++c) {
        double ratio[ROUNDS];
        simulate_case(random, n, c == 0 ? slowdown : 0.0, ratio);
        assert_ok(adamoe_compare_pairs(&comparison, "case", ratio, ROUNDS));
    }
    assert_ok(adamoe_judge_comparison(&comparison));
    const bool flagged = comparison.finding[0].verdict == ADAMOE_VERDICT_REGRESSION;
    *others = adamoe_count_verdict(&comparison, ADAMOE_VERDICT_REGRESSION) - flagged;
    adamoe_free_comparison(&comparison);
    return flagged;
}

typedef struct rates {
    size_t found, false_alarms; /* of RUNS */
} rates;

static rates simulate(const noise *n, double slowdown, uint64_t seed)
{
    adamoe_splitmix64 random = {seed};
    rates out = {0};
    for (size_t run = 0; run < RUNS; ++run) {
        size_t others;
        out.found += run_gate(&random, n, slowdown, &others);
        out.false_alarms += others > 0;
    }
    print_message("slowdown %.0f %%: flagged in %zu of %d runs, another case in %zu\n", 100.0 * slowdown,
                  out.found, RUNS, out.false_alarms);
    return out;
}

/* At most 1 run of 20. */
static void what_did_not_change_is_not_flagged(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; ++kind) {
        const rates got = simulate(kind == 0 ? &quiet : &shared, 0.0, 1);
        assert_in_range(got.found + got.false_alarms, 0, RUNS / 20);
    }
}

/* At least 9 runs of 10. */
static void five_percent_are_found(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; ++kind) {
        const rates got = simulate(kind == 0 ? &quiet : &shared, 0.05, 2);
        assert_in_range(got.found, RUNS * 9 / 10, RUNS);
        assert_in_range(got.false_alarms, 0, RUNS / 20);
    }
}

/* One percent is there, and found significant on a quiet machine; it is less than anybody
 * wants to hear of. */
static void one_percent_is_below_the_minimum_effect(void **state)
{
    (void)state;
    assert_in_range(simulate(&quiet, 0.01, 3).found, 0, RUNS / 20);
}

/* Why a round counts once: the pairs of one pair of processes share its difference, and taken for independent
 * measurements they are sure of what is chance. */
static void pairs_of_one_process_are_not_independent(void **state)
{
    (void)state;
    adamoe_splitmix64 random = {4};
    size_t alarms = 0;
    for (size_t run = 0; run < RUNS; ++run) {
        double pair[PAIRS];
        adamoe_rank_test test;
        simulate_round(&random, &differing_processes, 0.0, pair);
        assert_ok(adamoe_signed_rank_test(pair, PAIRS, &test));
        alarms += test.p <= 0.05;
    }
    print_message("pairs of one round as the sample: %zu false alarms of %d\n", alarms, RUNS);
    assert_in_range(alarms, RUNS / 5, RUNS);
}

/* What the simulation says is that of the real judgement: a change of everything is seen at once. */
static void so_many_rounds_can_be_significant(void **state)
{
    (void)state;
    assert_true(CASES * adamoe_smallest_paired_p(ROUNDS) <= adamoe_comparison_defaults.alpha);
    assert_int_equal(simulate(&quiet, 0.5, 5).found, RUNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_did_not_change_is_not_flagged),
        cmocka_unit_test(five_percent_are_found),
        cmocka_unit_test(one_percent_is_below_the_minimum_effect),
        cmocka_unit_test(pairs_of_one_process_are_not_independent),
        cmocka_unit_test(so_many_rounds_can_be_significant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

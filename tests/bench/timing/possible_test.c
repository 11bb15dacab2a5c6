/*
 * What bench takes for impossible, with figures that are made up.
 */
#include "test.h"
#include "timing/possible.h"

/* A median of 0.9, the same of the best bursts, 90 of 100 GFLOP/s. */
static const adamoe_bench_summary usual = {
    .gflops = 90.0, .roofline_share = {0.9, {0.8, 1.01}}, .share_of_best = 0.9};
static const adamoe_possible_conditions arithmetic = {.peak_gflops = 100.0, .arithmetic_binds = true};
static const adamoe_possible_conditions reading = {.peak_gflops = 100.0};

static void what_is_below_the_machine_is_possible(void **state)
{
    (void)state;
    assert_ok(adamoe_judge_possible(&usual, arithmetic));
    assert_ok(adamoe_judge_possible(&usual, reading));
    adamoe_bench_summary edge = usual;
    edge.gflops = 102.0;
    edge.share_of_best = 1.02;
    edge.roofline_share = (adamoe_estimate){1.02, {1.02, 1.02}};
    assert_ok(adamoe_judge_possible(&edge, arithmetic));
    const adamoe_bench_summary none = {
        .gflops = 50.0, .roofline_share = {NAN, {NAN, NAN}}, .share_of_best = NAN}; /* no path runs here */
    assert_ok(adamoe_judge_possible(&none, (adamoe_possible_conditions){.peak_gflops = 0.0}));
}

/* A peak that does not know the unit a kernel computes with: sixteen times what it should be. */
static void more_than_the_arithmetic_peak(void **state)
{
    (void)state;
    adamoe_bench_summary s = usual;
    s.gflops = 1600.0;
    assert_error(adamoe_judge_possible(&s, arithmetic), ADAMOE_DIFFERENCE,
                 "impossible: 16.000 of the arithmetic peak");
    assert_error(adamoe_judge_possible(&s, reading), ADAMOE_DIFFERENCE, "arithmetic peak");
    adamoe_possible_conditions cached = reading;
    cached.may_come_from_cache = true; /* which explains no arithmetic */
    assert_error(adamoe_judge_possible(&s, cached), ADAMOE_DIFFERENCE, "arithmetic peak");
    s.gflops = 102.1;
    assert_error(adamoe_judge_possible(&s, arithmetic), ADAMOE_DIFFERENCE, "1.021 of the arithmetic peak");
}

static void faster_than_the_best_bursts_allow(void **state)
{
    (void)state;
    adamoe_bench_summary s = usual;
    s.share_of_best = 1.03;
    assert_error(adamoe_judge_possible(&s, reading), ADAMOE_DIFFERENCE,
                 "impossible: 1.030 of the roofline of the best bursts");
    adamoe_possible_conditions cached = reading;
    cached.may_come_from_cache = true;
    assert_ok(adamoe_judge_possible(&s, cached));
    cached.arithmetic_binds = true;
    assert_error(adamoe_judge_possible(&s, cached), ADAMOE_DIFFERENCE, "best bursts");
}

/* The moments' shares are noisy: their median alone proves nothing; all of their interval does where the best
 * bursts do not contradict. */
static void an_interval_above_the_machine(void **state)
{
    (void)state;
    adamoe_bench_summary s = usual;
    s.roofline_share = (adamoe_estimate){1.3, {0.95, 1.6}};
    assert_ok(adamoe_judge_possible(&s, reading));
    s.roofline_share.interval.low = 1.03;
    assert_ok(adamoe_judge_possible(
        &s, reading)); /* the best bursts explain it: those of the moments were disturbed */
    s.share_of_best = 1.01;
    assert_error(adamoe_judge_possible(&s, reading), ADAMOE_DIFFERENCE, "1.030 of the roofline at least");
    s.roofline_share.interval = (adamoe_interval){INFINITY, INFINITY}; /* too few repetitions */
    assert_ok(adamoe_judge_possible(&s, reading));
    s.roofline_share.interval = (adamoe_interval){-INFINITY, INFINITY};
    assert_ok(adamoe_judge_possible(&s, reading));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_below_the_machine_is_possible),
        cmocka_unit_test(more_than_the_arithmetic_peak),
        cmocka_unit_test(faster_than_the_best_bursts_allow),
        cmocka_unit_test(an_interval_above_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

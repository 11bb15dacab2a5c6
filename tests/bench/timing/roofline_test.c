/*
 * The accounting of `adamoe bench`, with plans and times that are made up: every expected value follows by
 * hand.
 */
#include "test.h"
#include "timing/summary.h"
#include "timing/peak_meter.h"
#include "timing/roofline.h"

/* Rows of four experts: 0, 1, 2, 5. */
static const uint32_t offsets[] = {0, 0, 1, 3, 8};
static const adamoe_plan plan = {.tokens = 8, .inputs = 8, .rows = 8, .experts = 4, .offset = offsets};

static void bytes_as_stored(void **state)
{
    (void)state;
    const double weights = 3.0 * 10 * 7;
    assert_true(adamoe_expert_cost_of(10, 7, ADAMOE_FLOAT32).flops_per_row == 2.0 * weights);
    assert_true(adamoe_expert_cost_of(10, 7, ADAMOE_FLOAT32).bytes == 4.0 * weights);
    assert_true(adamoe_expert_cost_of(10, 7, ADAMOE_BFLOAT16).bytes == 2.0 * weights);
    /* a scale for each output channel: 7 of w1, 7 of w3, 10 of w2 */
    assert_true(adamoe_expert_cost_of(10, 7, ADAMOE_INT8).bytes == weights + 4.0 * (7 + 7 + 10));
}

static void an_untouched_expert_costs_nothing(void **state)
{
    (void)state;
    const adamoe_plan_work work = adamoe_plan_work_of(&plan, (adamoe_expert_cost){100.0, 1000.0});
    assert_int_equal(work.rows, 8);
    assert_int_equal(work.touched_experts, 3);
    assert_true(work.flops == 800.0);
    assert_true(work.bytes == 3000.0);
}

static void limits_by_hand(void **state)
{
    (void)state;
    /* an expert is read in 2 s, a row is computed in 1 s: 8 s of arithmetic hide 6 s of reading; expert by
     * expert it is max(1, 2) + max(2, 2) + max(5, 2) */
    const adamoe_expert_cost cost = {1e9, 2e9};
    adamoe_limit limit = adamoe_roofline(&plan, cost, (adamoe_rates){1.0, 1.0});
    assert_true(limit.seconds == 8.0);
    assert_true(limit.seconds_without_overlap == 9.0);
    assert_true(adamoe_arithmetic_binds(&plan, cost, (adamoe_rates){1.0, 1.0}));
    /* reading at half the rate: 12 s of reading; 4 + 4 + 5 */
    limit = adamoe_roofline(&plan, cost, (adamoe_rates){1.0, 0.5});
    assert_true(limit.seconds == 12.0);
    assert_true(limit.seconds_without_overlap == 13.0);
    assert_false(adamoe_arithmetic_binds(&plan, cost, (adamoe_rates){1.0, 0.5}));
    assert_true(adamoe_arithmetic_binds(&plan, cost, (adamoe_rates){1.0, INFINITY}));
    /* from a cache without a limit */
    limit = adamoe_roofline(&plan, cost, (adamoe_rates){1.0, INFINITY});
    assert_true(limit.seconds == 8.0 && limit.seconds_without_overlap == 8.0);
    /* nothing to do takes no time */
    static const uint32_t none[] = {0, 0};
    limit = adamoe_roofline(&(adamoe_plan){.tokens = 1, .experts = 1, .offset = none}, cost,
                            (adamoe_rates){1.0, 1.0});
    assert_true(limit.seconds == 0.0 && limit.seconds_without_overlap == 0.0);
}

static void what_binds_is_decided_by_the_usual_rates(void **state)
{
    (void)state;
    /* 3 rows and 1 row: 6 and 2 FLOPs, 4 bytes each; usually 2 per second of both */
    const uint32_t two_offsets[] = {0, 3, 4};
    const adamoe_plan two = {.rows = 4, .experts = 2, .offset = two_offsets};
    const adamoe_expert_cost cost = {2e9, 4e9};
    const adamoe_rates usual = {2.0, 2.0};
    const adamoe_limit same = adamoe_roofline_now(&two, cost, usual, usual);
    assert_true(same.seconds == 4.0 && same.seconds_without_overlap == 3.0 + 2.0);
    /* at half the arithmetic, the first expert takes twice as long and the second one, whose reading binds,
     * no longer; at half the reading it is the other way round */
    const adamoe_limit slow = adamoe_roofline_now(&two, cost, usual, (adamoe_rates){1.0, 2.0});
    assert_true(slow.seconds == 8.0 && slow.seconds_without_overlap == 6.0 + 2.0);
    const adamoe_limit narrow = adamoe_roofline_now(&two, cost, usual, (adamoe_rates){2.0, 1.0});
    assert_true(narrow.seconds == 4.0 && narrow.seconds_without_overlap == 3.0 + 4.0);
}

static void shares_and_ratios(void **state)
{
    (void)state;
    const double seconds[] = {4.0, 2.0, 8.0}, first[] = {8.0, 6.0, 8.0};
    const adamoe_limit limit[] = {{2.0, 3.0}, {1.5, 1.8}, {2.0, 2.0}}; /* shares 0.5, 0.75, 0.25 */
    const adamoe_plan_work work = {.flops = 8e9, .bytes = 2e9};
    adamoe_bench_summary s;
    assert_ok(adamoe_bench_summarise(seconds, first, limit, 3, work, (adamoe_limit){1.0, 3.0}, &s));
    assert_true(s.seconds.median == 4.0);
    assert_true(s.seconds.interval.low == 2.0 && s.seconds.interval.high == 8.0);
    assert_true(s.gflops == 2.0 && s.gbytes_per_second == 0.5);
    assert_true(s.roofline_share.median == 0.5 && s.share_without_overlap.median == 0.75);
    assert_true(isinf(s.roofline_share.interval.low) && isinf(s.roofline_share.interval.high));
    assert_true(s.share_of_best == 0.25 && s.share_of_best_without_overlap == 0.75);
    assert_false(s.measurement_error);
    /* pair by pair 2, 3, 1; the ratio of the medians is the same here by chance, so another one is checked
     * too */
    assert_true(s.speedup.median == 2.0);
    assert_true(s.speedup.interval.low == 1.0 && s.speedup.interval.high == 3.0);
    const double a[] = {1.0, 10.0, 3.0}, b[] = {2.0, 5.0, 12.0}; /* 0.5, 2, 0.25; the medians 3 and 5 */
    adamoe_estimate ratio;
    assert_ok(adamoe_estimate_ratio(a, b, 3, &ratio));
    assert_true(ratio.median == 0.5);
}

static adamoe_bench_summary share_of(double seconds)
{
    const double second = 1.0;
    const adamoe_limit limit = {seconds, seconds};
    adamoe_bench_summary s;
    assert_ok(
        adamoe_bench_summarise(&second, &second, &limit, 1, (adamoe_plan_work){.flops = 1e9}, limit, &s));
    return s;
}

static void faster_than_the_machine_is_an_error(void **state)
{
    (void)state;
    assert_false(share_of(1.02).measurement_error);
    assert_true(share_of(1.03).measurement_error);
    assert_true(share_of(1.03).roofline_share.median == 1.03); /* not clipped */
    assert_false(share_of(NAN).measurement_error);
    assert_true(isnan(share_of(NAN).roofline_share.median) && isnan(share_of(INFINITY).share_of_best));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_as_stored),   cmocka_unit_test(an_untouched_expert_costs_nothing),
        cmocka_unit_test(limits_by_hand),    cmocka_unit_test(what_binds_is_decided_by_the_usual_rates),
        cmocka_unit_test(shares_and_ratios), cmocka_unit_test(faster_than_the_machine_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

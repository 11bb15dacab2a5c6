/*
 * The share of the roofline on machines that are simulated: the pace of each falls to a part of itself for
 * stretches, and a kernel whose share is known is timed on it. No clock is read.
 */
#include "test.h"
#include "timing/summary.h"
#include "splitmix64.h"
#include "timing/paired_limit.h"

enum { REPETITIONS = 41 };

/* Of one machine, in simulated seconds. */
typedef struct machine {
    adamoe_splitmix64 random;
    double time, step;      /* the pace is the same within a step */
    double fast, slow;      /* mean seconds of a stretch */
    double pace, slow_pace; /* 1 or slow_pace */
    double noise;           /* of a burst's rate and of a repetition's time, as a fraction */
} machine;

static double uniform(machine *m)
{
    return (double)(adamoe_splitmix64_next(&m->random) >> 11) * 0x1p-53;
}

/* A factor within 1 - noise .. 1 + noise. */
static double disturbed(machine *m)
{
    return 1.0 + m->noise * (2.0 * uniform(m) - 1.0);
}

/* One step on: what is done in it at the pace of the moment. */
static double advance(machine *m)
{
    const double stretch = m->pace == 1.0 ? m->fast : m->slow, work = m->pace * m->step;
    if (uniform(m) < m->step / stretch) {
        m->pace = m->pace == 1.0 ? m->slow_pace : 1.0;
    }
    m->time += m->step;
    return work;
}

/* Seconds until so much is done. */
static double work_off(machine *m, double work)
{
    const double start = m->time;
    for (double done = 0.0; done < work;) {
        done += advance(m);
    }
    return (m->time - start) * disturbed(m);
}

/* The rate over so many seconds. */
static double measure_rate(machine *m, double peak, double seconds)
{
    const double start = m->time;
    double done = 0.0;
    while (m->time - start < seconds) {
        done += advance(m);
    }
    return peak * done / (m->time - start) * disturbed(m);
}

/* A kernel that does `share` of what the machine could at any moment: 1e11 FLOPs at up to 200 GFLOP/s, or
 * 1e10 bytes at up to 20 GB/s, which both take half a second. */
static adamoe_bench_summary simulate(machine m, double share, double flops, double bytes)
{
    static double gflops[REPETITIONS + 1], gbytes[REPETITIONS + 1];
    double seconds[REPETITIONS], best_gflops = 0.0, best_gbytes = 0.0;
    size_t before[REPETITIONS];
    const uint32_t offset[] = {0, 1};
    const adamoe_plan plan = {.rows = 1, .experts = 1, .offset = offset};
    const adamoe_expert_cost cost = {flops, bytes};
    const double arithmetic = flops / 200e9, memory = bytes / 20e9;
    adamoe_limit limit[REPETITIONS];
    adamoe_bench_summary s;
    for (size_t i = 0; i <= REPETITIONS; ++i) {
        gflops[i] = measure_rate(&m, 200.0, 0.01);
        gbytes[i] = measure_rate(&m, 20.0, 0.01);
        best_gflops = fmax(best_gflops, gflops[i]);
        best_gbytes = fmax(best_gbytes, gbytes[i]);
        if (i < REPETITIONS) {
            before[i] = i;
            seconds[i] = work_off(&m, fmax(arithmetic, memory) / share);
        }
    }
    double sorted[2][REPETITIONS + 1];
    memcpy(sorted[0], gflops, sizeof gflops);
    memcpy(sorted[1], gbytes, sizeof gbytes);
    adamoe_sort(sorted[0], REPETITIONS + 1);
    adamoe_sort(sorted[1], REPETITIONS + 1);
    const adamoe_peak peak = {.gflops = best_gflops,
                              .gflops_median = adamoe_median(sorted[0], REPETITIONS + 1),
                              .gbytes_per_second = best_gbytes,
                              .gbytes_per_second_median = adamoe_median(sorted[1], REPETITIONS + 1),
                              .bursts = REPETITIONS + 1,
                              .gflops_of = gflops,
                              .gbytes_of = gbytes};
    adamoe_paired_limits(&plan, cost, &peak, before, REPETITIONS, 0.0, limit);
    assert_ok(adamoe_bench_summarise(seconds, seconds, limit, REPETITIONS, adamoe_plan_work_of(&plan, cost),
                                     adamoe_roofline(&plan, cost, (adamoe_rates){best_gflops, best_gbytes}),
                                     &s));
    return s;
}

static machine machine_of(uint64_t seed, double fast, double slow, double noise)
{
    return (machine){.random = {seed},
                     .step = 0.001,
                     .fast = fast,
                     .slow = slow,
                     .pace = 1.0,
                     .slow_pace = 0.55,
                     .noise = noise};
}

static void a_steady_machine_needs_no_pairs(void **state)
{
    (void)state;
    const adamoe_bench_summary s = simulate(machine_of(1, 1e30, 1.0, 0.0), 0.8, 1e11, 1e9);
    assert_true(fabs(s.roofline_share.median - 0.8) < 0.002); /* a repetition is whole steps */
    assert_true(fabs(s.share_of_best - 0.8) < 0.002);
}

/* Slow for three seconds of four, in stretches of some seconds: the paired share is the true one, and what is
 * over the best bursts errs by the pace of the machine. */
static void stretches_are_no_fault_of_the_kernel(void **state)
{
    (void)state;
    double worst = 0.0;
    size_t covered = 0, misjudged = 0;
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        const bool memory = seed % 2 != 0;
        const adamoe_bench_summary s =
            simulate(machine_of(seed, 2.0, 6.0, 0.03), 0.85, memory ? 1e9 : 1e11, memory ? 1e10 : 1e8);
        worst = fmax(worst, fabs(s.roofline_share.median - 0.85));
        covered += s.roofline_share.interval.low <= 0.85 && 0.85 <= s.roofline_share.interval.high;
        misjudged += s.share_of_best < 0.7;
        assert_false(s.measurement_error);
    }
    print_message("50 machines: largest error of the paired share %.4f, intervals that hold it %zu; over "
                  "the best bursts, below 0.7 on %zu\n",
                  worst, covered, misjudged);
    assert_true(misjudged > 25);
    assert_true(worst < 0.025);
    assert_true(covered >= 44); /* at 95 %, fewer have a probability of 0.01 */
}

/* Bursts that are noisy by a tenth, both terms alike: the larger of two noisy ones would be too large. */
static void noise_does_not_flatter(void **state)
{
    (void)state;
    double sum = 0.0;
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        sum += simulate(machine_of(seed, 1e30, 1.0, 0.1), 0.85, 1e11, 1e10).roofline_share.median;
    }
    print_message("mean share at the ridge, noise of a tenth: %.4f\n", sum / 50.0);
    assert_true(fabs(sum / 50.0 - 0.85) < 0.01);
}

static void what_cannot_be_measured_has_no_share(void **state)
{
    (void)state;
    const uint32_t offset[] = {0, 1};
    const adamoe_plan plan = {.rows = 1, .experts = 1, .offset = offset};
    const double rate[] = {1.0, 3.0};
    const adamoe_peak peak = {.gbytes_per_second_median = 2.0, .bursts = 2, .gbytes_of = rate};
    const size_t before = 0;
    adamoe_limit limit;
    adamoe_paired_limits(&plan, (adamoe_expert_cost){1.0, 1.0}, &peak, &before, 1, 0.0, &limit);
    assert_true(isnan(limit.seconds) && isnan(limit.seconds_without_overlap));
    /* hot: arithmetic alone, at the mean of both bursts */
    const adamoe_peak both = {.gflops_median = 2.0,
                              .bursts = 2,
                              .gflops_of = rate,
                              .gbytes_per_second_median = 2.0,
                              .gbytes_of = rate};
    adamoe_paired_limits(&plan, (adamoe_expert_cost){4e9, 100e9}, &both, &before, 1, INFINITY, &limit);
    assert_true(limit.seconds == 2.0);
}

static void bursts_suit_the_repetitions(void **state)
{
    (void)state;
    assert_int_equal(adamoe_burst_slices(0.0), 1);
    assert_int_equal(adamoe_burst_slices(0.04), 1);
    assert_int_equal(adamoe_burst_slices(0.49), 10);
    assert_int_equal(adamoe_burst_slices(1e9), 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_machine_needs_no_pairs),
        cmocka_unit_test(stretches_are_no_fault_of_the_kernel),
        cmocka_unit_test(noise_does_not_flatter),
        cmocka_unit_test(what_cannot_be_measured_has_no_share),
        cmocka_unit_test(bursts_suit_the_repetitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

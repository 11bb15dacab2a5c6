/*
 * What null experts save: both routings of a trace belong together, the accounting follows by hand, times
 * that are made up give the reductions that they must, and a wrong kernel gets no time.
 */
#include "test.h"
#include "kernel/kernel.h"
#include "timing/plan_part.h"
#include "timing/saved_time.h"
#include "router.h"

enum { TRACE = 96, N = 8, M = 8 };

static const adamoe_preset *const tiny = &adamoe_presets[0];

static const adamoe_pattern patterns[] = {ADAMOE_PATTERN_BALANCED, ADAMOE_PATTERN_RANDOM,
                                          ADAMOE_PATTERN_SKEWED};

static bool selects(const adamoe_routing *routing, size_t t, uint32_t id)
{
    const size_t k = routing->rule.top_k;
    for (size_t j = 0; j < k; ++j) {
        if (routing->id[t * k + j] == id) {
            return true;
        }
    }
    return false;
}

/* The true experts of a token are among those of the baseline, and null experts fill up the rest. */
static void null_experts_thin_out_the_baseline(void **state)
{
    (void)state;
    for (size_t p = 0; p < 3; ++p) {
        adamoe_saved_trace trace;
        assert_ok(adamoe_saved_trace_create(patterns[p], tiny, 4, TRACE, 9, &trace));
        assert_int_equal(trace.batches, TRACE / 4);
        size_t rows = 0, met[3] = {0}, kept[N] = {0}, selected[N] = {0};
        for (size_t t = 0; t < TRACE; ++t) {
            const adamoe_saved_batch *b = &trace.batch[t / 4];
            const size_t count = adamoe_routing_true_experts(b->adaptive.routing, t % 4);
            assert_in_range(count, 1, 2);
            ++met[count];
            rows += count;
            assert_int_equal(adamoe_routing_true_experts(b->baseline_routing, t % 4), 2);
            for (uint32_t e = 0; e < N; ++e) {
                kept[e] += selects(b->adaptive.routing, t % 4, e);
                selected[e] += selects(b->baseline_routing, t % 4, e);
                assert_true(!selects(b->adaptive.routing, t % 4, e) ||
                            selects(b->baseline_routing, t % 4, e));
            }
        }
        assert_int_equal(rows, 160); /* round(96 * 1.67) */
        assert_int_equal(met[1], 32);
        for (size_t e = 0; e < N && patterns[p] == ADAMOE_PATTERN_BALANCED; ++e) {
            assert_int_equal(selected[e], TRACE * 2 / N);
            assert_in_range(kept[e], 160 / N - 1, 160 / N + 1);
        }
        assert_true(patterns[p] != ADAMOE_PATTERN_SKEWED || selected[0] > 2 * selected[N - 1]);
        adamoe_saved_trace_free(&trace);
    }
}

/* What the router has to tell apart is further apart than its own weights move a logit. */
static void logits_keep_their_distance(void **state)
{
    (void)state;
    static float logits[TRACE * (N + M)];
    adamoe_saved_logits(ADAMOE_PATTERN_RANDOM, tiny, TRACE, 4, logits);
    for (size_t t = 0; t < TRACE; ++t) {
        float *l = logits + t * (N + M);
        float sorted[N + M], of_true[N];
        memcpy(sorted, l, sizeof sorted);
        memcpy(of_true, l, sizeof of_true);
        for (size_t i = 0; i < N + M; ++i) {
            for (size_t j = i + 1; j < N + M; ++j) {
                if (sorted[j] > sorted[i]) {
                    const float swap = sorted[i];
                    sorted[i] = sorted[j];
                    sorted[j] = swap;
                }
            }
        }
        for (size_t i = 0; i < N; ++i) {
            for (size_t j = i + 1; j < N; ++j) {
                if (of_true[j] > of_true[i]) {
                    const float swap = of_true[i];
                    of_true[i] = of_true[j];
                    of_true[j] = swap;
                }
            }
        }
        assert_true(sorted[2] - sorted[3] > 0.5f);
        assert_true(of_true[1] - of_true[2] > 0.4f);
    }
}

static bool near(double got, double expected)
{
    return fabs(got - expected) <= 1e-12 * fabs(expected);
}

/* One token a call: an expert is touched by the row that it computes. */
static void accounting_by_hand(void **state)
{
    (void)state;
    const double row = 6.0 * 64 * 96, expert = 3.0 * 64 * 96 * 2; /* FLOPs; bytes in bfloat16 */
    const double baseline_router = 2.0 * 64 * N, adaptive_router = 2.0 * 64 * (N + M);
    adamoe_saved_trace trace;
    adamoe_saved_point p = {0};
    assert_ok(adamoe_saved_trace_create(ADAMOE_PATTERN_RANDOM, tiny, 1, TRACE, 9, &trace));
    /* only arithmetic counts */
    adamoe_saved_account(tiny, ADAMOE_BFLOAT16, &trace, (adamoe_rates){1.0, INFINITY}, &p);
    assert_true(p.baseline.load == 2.0 && near(p.adaptive.load, 160.0 / TRACE));
    assert_true(near(p.baseline.layer_flops, TRACE * (2 * row + baseline_router)));
    assert_true(near(p.adaptive.layer_flops, 160 * row + TRACE * adaptive_router));
    assert_true(near(p.expert_flops_reduction, 1.0 / 6));
    assert_true(near(p.layer_flops_reduction, 1.0 - p.adaptive.layer_flops / p.baseline.layer_flops));
    assert_true(near(p.baseline.touched_bytes, TRACE * 2 * expert));
    assert_true(near(p.adaptive.touched_bytes, 160 * expert));
    assert_true(near(p.touched_bytes_reduction, 1.0 / 6));
    assert_true(near(p.baseline.limit, p.baseline.layer_flops * 1e-9));
    assert_true(near(p.predicted_time_reduction, p.layer_flops_reduction));
    /* only memory counts; the router's rows are read too */
    adamoe_saved_account(tiny, ADAMOE_BFLOAT16, &trace, (adamoe_rates){INFINITY, 1.0}, &p);
    assert_true(near(p.baseline.limit, (TRACE * 2 * expert + TRACE * 4.0 * 64 * N) * 1e-9));
    assert_true(near(p.adaptive.limit, (160 * expert + TRACE * 4.0 * 64 * (N + M)) * 1e-9));
    assert_true(near(p.adaptive.limit_without_overlap, p.adaptive.limit));
    adamoe_saved_trace_free(&trace);
    /* every expert is touched anyway: no byte is saved, and where memory bounds, no time but the router's */
    assert_ok(adamoe_saved_trace_create(ADAMOE_PATTERN_BALANCED, tiny, TRACE, TRACE, 9, &trace));
    assert_int_equal(trace.batches, 1);
    adamoe_saved_account(tiny, ADAMOE_BFLOAT16, &trace, (adamoe_rates){INFINITY, 1.0}, &p);
    assert_true(p.touched_bytes_reduction == 0.0);
    assert_true(p.predicted_time_reduction < 0.0);
    assert_true(near(p.expert_flops_reduction, 1.0 / 6));
    adamoe_saved_trace_free(&trace);
}

static void times_are_judged_in_pairs(void **state)
{
    (void)state;
    /* ratios 0.8 times 1, 1.1 and 1/1.1, each twice, of times that drift: 6 pairs have an interval of 0.97 */
    const double baseline[] = {10.0, 20.0, 40.0, 10.0, 30.0, 20.0};
    const double factor[] = {1.0, 1.1, 1.0 / 1.1, 1.0, 1.1, 1.0 / 1.1};
    double adaptive[6];
    for (size_t i = 0; i < 6; ++i) {
        adaptive[i] = 0.8 * factor[i] * baseline[i];
    }
    adamoe_saved_point p = {.layer_flops_reduction = 0.25};
    assert_ok(adamoe_saved_judge(baseline, adaptive, 6, &p));
    assert_true(p.baseline.seconds == 20.0);
    assert_true(near(p.time_reduction.median, 0.2));
    assert_true(near(p.time_reduction.interval.low, 1.0 - 0.8 * 1.1));
    assert_true(near(p.time_reduction.interval.high, 1.0 - 0.8 / 1.1));
    assert_true(near(p.time_per_flops, 0.8));
    assert_true(near(p.time_per_flops_interval.low, (1.0 - 0.8 * 1.1) / 0.25));
    p.layer_flops_reduction = 0.0;
    assert_ok(adamoe_saved_judge(baseline, adaptive, 6, &p));
    assert_true(isnan(p.time_per_flops));
    /* five pairs: an estimate, and no interval */
    assert_ok(adamoe_saved_judge(baseline, adaptive, 5, &p));
    assert_true(isfinite(p.time_reduction.median) && isinf(p.time_reduction.interval.low));
}

/* Every row and every place of the whole is in one part, with its input and its weight. */
static void parts_add_up_to_the_plan(void **state)
{
    (void)state;
    adamoe_saved_trace trace;
    assert_ok(adamoe_saved_trace_create(ADAMOE_PATTERN_SKEWED, tiny, 24, 24, 3, &trace));
    const adamoe_plan *plan = trace.batch[0].adaptive.plan;
    size_t rows = 0, places = 0;
    for (size_t e = 0; e < plan->experts; ++e) {
        adamoe_plan_part part;
        assert_ok(adamoe_plan_part_create(plan, e, &part));
        const adamoe_plan *p = &part.plan;
        assert_int_equal(p->rows, plan->offset[e + 1] - plan->offset[e]);
        assert_true(p->offset[0] == 0 && p->offset[e] == 0 && p->offset[e + 1] == p->rows);
        assert_true(p->offset[p->experts] == p->rows && p->tokens == plan->tokens);
        for (size_t t = 0; t < p->tokens; ++t) {
            for (size_t i = p->token_offset[t]; i < p->token_offset[t + 1]; ++i) {
                size_t whole = plan->token_offset[t];
                while (plan->token_row[whole] != plan->offset[e] + p->token_row[i]) {
                    assert_true(++whole < plan->token_offset[t + 1]);
                }
                assert_int_equal(p->input[p->token_row[i]], t);
                assert_true(p->combine[i] == plan->combine[whole]);
            }
        }
        rows += p->rows;
        places += p->token_offset[p->tokens];
        adamoe_plan_part_free(&part);
    }
    assert_int_equal(rows, plan->rows);
    assert_int_equal(places, plan->token_offset[plan->tokens]);
    adamoe_saved_trace_free(&trace);
}

/* Right for the baseline, wrong for a plan with fewer rows. */
static adamoe_status experts_wrong_when_thinned(adamoe_prepared *prepared, const adamoe_run *run,
                                                const float *x, const adamoe_plan *plan, float *y)
{
    const adamoe_status status = adamoe_reference_kernel.experts(prepared, run, x, plan, y);
    if (plan->rows < 2 * plan->tokens) {
        y[0] += 0.01f;
    }
    return status;
}

static void a_wrong_side_gets_no_time(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    adamoe_bench_machine machine = {.fallback = &adamoe_reference_kernel};
    adamoe_bench_weights weights = {.preset = tiny, .seed = 1};
    const adamoe_saved_options options = {
        .pattern = ADAMOE_PATTERN_RANDOM, .seed = 1, .repetitions = 3, .least_tokens = 6};
    adamoe_saved_point p;
    assert_ok(adamoe_bench_machine_enter(&machine, &(adamoe_machine_options){.threads = 1}));
    assert_ok(adamoe_saved_measure(&machine, &weights, &kernel, 3, &options, &p));
    assert_int_equal(p.batches, 2);
    assert_int_equal(p.passes, 1);
    assert_true(p.baseline.seconds > 0.0 && p.adaptive.seconds > 0.0);
    assert_true(isfinite(p.time_reduction.median) && isfinite(p.predicted_time_reduction));
    kernel.experts = experts_wrong_when_thinned;
    assert_error(adamoe_saved_measure(&machine, &weights, &kernel, 3, &options, &p), ADAMOE_DIFFERENCE,
                 "wrong result at token 0, channel 0");
    adamoe_bench_weights_free(&weights);
    adamoe_bench_machine_leave(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_experts_thin_out_the_baseline),
        cmocka_unit_test(logits_keep_their_distance),
        cmocka_unit_test(accounting_by_hand),
        cmocka_unit_test(times_are_judged_in_pairs),
        cmocka_unit_test(parts_add_up_to_the_plan),
        cmocka_unit_test(a_wrong_side_gets_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

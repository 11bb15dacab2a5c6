/*
 * AdamW against its formula in double, for every instruction set; clipping, decay, frozen weights; the same
 * bits for any number of threads; the schedule at its corners.
 */
#include "test.h"
#include "machine/team.h"
#include "train/adamw.h"
#include "splitmix64.h"
#include "train/train_ops.h"

enum { COUNT = 20000, STEPS = 5 };

static const adamoe_adamw_options usual = {0.9, 0.95, 1e-8, 0.1, 0.0};

static void fill(float *x, size_t count, float scale, uint64_t seed)
{
    adamoe_splitmix64 random = {seed};
    for (size_t i = 0; i < count; ++i) {
        x[i] = scale * adamoe_splitmix64_uniform(&random);
    }
}

/* Each operation of a step rounds once: eight of them lie between g and an update, four between g^2 and the
 * root, and one more for each earlier step in a moment; u = 2^-24. */
static double update_bound(int steps)
{
    return (14.0 + 2.0 * steps) * 0x1p-24;
}

static void test_steps_follow_the_formula(void **state)
{
    (void)state;
    enum { N = 37 };
    bool runs_here;
    for (size_t set = 0; adamoe_train_ops_at(set, &runs_here) != NULL; ++set) {
        float w[N], m[N] = {0}, v[N] = {0}, g[N];
        double wd[N], md[N] = {0}, vd[N] = {0}, slack[N] = {0};
        if (!runs_here) {
            continue;
        }
        fill(w, N, 1.0f, 1);
        for (size_t i = 0; i < N; ++i) {
            wd[i] = (double)w[i];
        }
        for (int step = 1; step <= STEPS; ++step) {
            const adamoe_adamw_step s = {
                0.5f,     0.875f, 0.9375f, (float)(1.0 - pow(0.875, step)), (float)(1.0 - pow(0.9375, step)),
                0x1p-20f, 0.125f, 0.25f};
            /* One sign for each weight, so that no moment cancels and relative errors stay relative. */
            fill(g, N, 1.0f, (uint64_t)step);
            for (size_t i = 0; i < N; ++i) {
                g[i] = fabsf(g[i]) + 0.01f;
                const double gradient = (double)s.gradient_scale * (double)g[i];
                md[i] = 0.875 * md[i] + 0.125 * gradient;
                vd[i] = 0.9375 * vd[i] + 0.0625 * gradient * gradient;
                const double update =
                    md[i] / (double)s.correction1 / (sqrt(vd[i] / (double)s.correction2) + (double)s.eps);
                const double change = update + 0.25 * wd[i];
                slack[i] =
                    slack[i] * 1.04 +
                    0.125 * (update * update_bound(step) + 4.0 * 0x1p-24 * (fabs(change) + fabs(wd[i]))) +
                    0x1p-24 * (fabs(wd[i]) + 0.125 * fabs(change));
                wd[i] -= 0.125 * change;
            }
            adamoe_train_ops_at(set, &runs_here)->adamw(&s, g, N, w, m, v);
        }
        for (size_t i = 0; i < N; ++i) {
            assert_true(fabs((double)w[i] - wd[i]) <= slack[i]);
            assert_true(fabs((double)m[i] - md[i]) <= update_bound(STEPS) * md[i]);
            assert_true(fabs((double)v[i] - vd[i]) <= update_bound(STEPS) * vd[i]);
        }
    }
}

/* Runs some steps with gradients from seeds; weights begin as given. */
static void run(uint32_t threads, const adamoe_adamw_options *options, float *w, double *norm)
{
    static const adamoe_adamw_segment segments[] = {{3, 9000, true}, {9003, 100, false}, {9500, 10500, true}};
    adamoe_team *team = NULL;
    adamoe_adamw *adamw = NULL;
    float *g = calloc(COUNT, sizeof *g);
    assert_non_null(g);
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(adamoe_adamw_create(team, COUNT, segments, 3, options, &adamw));
    for (uint64_t step = 0; step < STEPS; ++step) {
        fill(g, COUNT, 1.0f, 100 + step);
        assert_ok(adamoe_adamw_update(adamw, 0.01, w, g, norm));
    }
    assert_int_equal(adamoe_adamw_state_of(adamw)->steps, STEPS);
    g[9600] = NAN;
    assert_error(adamoe_adamw_update(adamw, 0.01, w, g, norm), ADAMOE_BAD_INPUT, "gradient is NaN");
    assert_int_equal(adamoe_adamw_state_of(adamw)->steps, STEPS);
    adamoe_adamw_free(adamw);
    adamoe_team_free(team);
    free(g);
}

static void test_threads_give_the_same_bits(void **state)
{
    (void)state;
    static float one[COUNT], many[COUNT];
    adamoe_adamw_options options = usual;
    double norm;
    options.clip_norm = 0.5;
    fill(one, COUNT, 1.0f, 9);
    run(1, &options, one, &norm);
    for (uint32_t threads = 2; threads <= 4; ++threads) {
        fill(many, COUNT, 1.0f, 9);
        run(threads, &options, many, &norm);
        assert_memory_equal(one, many, sizeof one);
    }
}

/* Outside the segments nothing moves; inside, all does. Without a gradient's effect decay alone moves: with
 * beta 0 and a huge eps the update is next to nothing. */
static void test_segments(void **state)
{
    (void)state;
    static float before[COUNT], after[COUNT];
    adamoe_adamw_options options = usual;
    double norm;
    fill(before, COUNT, 1.0f, 9);
    memcpy(after, before, sizeof before);
    options.eps = 1e30;
    run(2, &options, after, &norm);
    for (size_t i = 0; i < COUNT; ++i) {
        const bool decayed = (i >= 3 && i < 9003) || i >= 9500;
        const double expected = (double)before[i] * (decayed ? pow(1.0 - 0.01 * 0.1, STEPS) : 1.0);
        assert_true(fabs((double)after[i] - expected) <= 4.0 * STEPS * 0x1p-24 * fabs(expected));
        assert_true(decayed || after[i] == before[i]);
    }
}

/* A gradient that is clipped to its half moves as half the gradient does: powers of two are exact. */
static void test_clipping(void **state)
{
    (void)state;
    static const adamoe_adamw_segment all = {0, 64, true};
    adamoe_team *team = NULL;
    float w[2][64], g[2][64];
    assert_ok(adamoe_team_create(2, &team));
    for (int i = 0; i < 2; ++i) {
        adamoe_adamw_options options = usual;
        adamoe_adamw *adamw = NULL;
        double norm;
        options.clip_norm = i == 0 ? 0.0 : 4.0;
        options.eps = 1.0; /* so that the size of the gradient matters */
        for (size_t j = 0; j < 64; ++j) {
            w[i][j] = 1.0f;
            g[i][j] = i == 0 ? 0.5f : 1.0f;
        }
        assert_ok(adamoe_adamw_create(team, 64, &all, 1, &options, &adamw));
        assert_ok(adamoe_adamw_update(adamw, 0.1, w[i], g[i], &norm));
        assert_true(norm == (i == 0 ? 4.0 : 8.0));
        adamoe_adamw_free(adamw);
    }
    assert_memory_equal(w[0], w[1], sizeof w[0]);
    adamoe_team_free(team);
}

/* The numbers that the optimiser itself makes: corrections by the count of steps, rate, decay. */
static void test_corrections_count_the_steps(void **state)
{
    (void)state;
    static const adamoe_adamw_segment all = {0, 1, true};
    const adamoe_adamw_options options = {0.75, 0.875, 0x1p-10, 0.5, 0.0};
    adamoe_team *team = NULL;
    adamoe_adamw *adamw = NULL;
    float w = 1.0f;
    double expected = 1.0, m = 0.0, v = 0.0, norm;
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(adamoe_adamw_create(team, 1, &all, 1, &options, &adamw));
    for (int step = 1; step <= STEPS; ++step) {
        const float g = 1.0f / (float)step;
        m = 0.75 * m + 0.25 * (double)g;
        v = 0.875 * v + 0.125 * (double)g * (double)g;
        const double root = sqrt(v / (1.0 - pow(0.875, step)));
        expected -= 0.0625 * (m / (1.0 - pow(0.75, step)) / (root + 0x1p-10) + 0.5 * expected);
        assert_ok(adamoe_adamw_update(adamw, 0.0625, &w, &g, &norm));
        /* Weight and update are at most about 1, and a step rounds the one twice and the other by
         * update_bound, times the rate. */
        assert_true(fabs((double)w - expected) <= step * (0x1p-23 + 0.0625 * 2.0 * update_bound(step)));
    }
    adamoe_adamw_free(adamw);
    adamoe_team_free(team);
}

static void test_schedule(void **state)
{
    (void)state;
    const adamoe_schedule cosine = {ADAMOE_SCHEDULE_COSINE, 2.0, 4, 14};
    const adamoe_schedule constant = {ADAMOE_SCHEDULE_CONSTANT, 2.0, 0, 14};
    assert_true(adamoe_schedule_rate(&cosine, 1) == 0.5);
    assert_true(adamoe_schedule_rate(&cosine, 4) == 2.0);
    assert_true(fabs(adamoe_schedule_rate(&cosine, 9) - 1.0) < 1e-15);
    assert_true(fabs(adamoe_schedule_rate(&cosine, 14)) < 1e-15);
    assert_true(adamoe_schedule_rate(&constant, 1) == 2.0 && adamoe_schedule_rate(&constant, 14) == 2.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_follow_the_formula),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_corrections_count_the_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The yardstick: honest computations in float32, in several orders of summation, and with bfloat16 and int8
 * operands stay inside it over many seeds; small wrongs leave it. A bound that nothing can break proves
 * nothing.
 */
#include "test.h"
#include "router.h"
#include "plan.h"
#include "bound/judge.h"
#include "bound/bound.h"
#include "numbers.h"

enum { MAX_D = 80, MAX_FF = 96, MAX_T = 12, N = 4 };

typedef struct problem {
    size_t d, ff, tokens;
    float w1[N][MAX_FF * MAX_D], w3[N][MAX_FF * MAX_D], w2[N][MAX_D * MAX_FF];
    float x[MAX_T * MAX_D];
    adamoe_expert expert[N];
    adamoe_layer layer;
    adamoe_routing *routing;
    adamoe_plan *plan;
} problem;

static uint64_t random_state;

/* Roughly normal: a sum of uniform values. */
static float random_value(void)
{
    double sum = 0.0;
    for (int i = 0; i < 4; ++i) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(random_state >> 11) * 0x1p-53 - 0.5;
    }
    return (float)(sum * 1.7);
}

static void make_problem(problem *p, uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    p->d = 5 + (size_t)(seed * 7 % (MAX_D - 5));
    p->ff = 3 + (size_t)(seed * 13 % (MAX_FF - 3));
    p->tokens = 1 + (size_t)(seed % MAX_T);
    for (size_t e = 0; e < N; ++e) {
        for (size_t i = 0; i < p->d * p->ff; ++i) {
            p->w1[e][i] = random_value();
            p->w3[e][i] = random_value();
            p->w2[e][i] = random_value();
        }
        p->expert[e] = (adamoe_expert){.w1 = {p->w1[e], ADAMOE_F32, p->ff, p->d},
                                       .w3 = {p->w3[e], ADAMOE_F32, p->ff, p->d},
                                       .w2 = {p->w2[e], ADAMOE_F32, p->d, p->ff}};
    }
    for (size_t i = 0; i < p->tokens * p->d; ++i) {
        p->x[i] = random_value();
    }
    p->layer = (adamoe_layer){.hidden_size = p->d,
                              .intermediate_size = p->ff,
                              .experts = N,
                              .null_experts = 2,
                              .expert = p->expert};
    float logits[MAX_T * (N + 2)];
    for (size_t i = 0; i < p->tokens * (N + 2); ++i) {
        logits[i] = random_value();
    }
    assert_ok(adamoe_routing_create(logits, p->tokens, N, 2, (adamoe_rule){.top_k = 1 + seed % (N + 2)},
                                    &p->routing));
    assert_ok(adamoe_plan_create(p->routing, &p->plan));
}

static void free_problem(problem *p)
{
    adamoe_routing_free(p->routing);
    adamoe_plan_free(p->plan);
}

/* Orders of summation that kernels use. */
typedef enum order {
    ASCENDING,
    DESCENDING,
    SIXTEEN_LANES,
} order;

static float float_dot(const float *a, const float *b, size_t count, order how)
{
    float lane[16] = {0};
    for (size_t i = 0; i < count; ++i) {
        const size_t c = how == DESCENDING ? count - 1 - i : i;
        float *sum = how == SIXTEEN_LANES ? &lane[i % 16] : &lane[0];
        *sum = fmaf(a[c], b[c], *sum);
    }
    for (size_t l = 1; l < 16; ++l) {
        lane[0] += lane[l];
    }
    return lane[0];
}

static void round_floats(adamoe_arithmetic kind, const float *in, size_t count, float *out)
{
    double copy[MAX_D + MAX_FF];
    for (size_t i = 0; i < count; ++i) {
        copy[i] = (double)in[i];
    }
    adamoe_round_operand(kind, copy, count);
    for (size_t i = 0; i < count; ++i) {
        out[i] = (float)copy[i];
    }
}

/* The weight of row r in token t's list. */
static float combine_of(const adamoe_plan *plan, size_t t, size_t r)
{
    size_t i = plan->token_offset[t];
    while (plan->token_row[i] != r) {
        ++i;
    }
    return plan->combine[i];
}

/* A kernel as somebody might write it in float32, with the operand kinds of `kind`. */
static void float_layer(const problem *p, adamoe_declared kind, order how, float *y)
{
    float x[MAX_D], h[MAX_FF], row[MAX_D + MAX_FF];
    memset(y, 0, p->tokens * p->d * sizeof *y);
    for (size_t e = 0; e < N; ++e) {
        for (size_t r = p->plan->offset[e]; r < p->plan->offset[e + 1]; ++r) {
            const size_t t = p->plan->input[r];
            round_floats(kind.x, p->x + t * p->d, p->d, x);
            for (size_t i = 0; i < p->ff; ++i) {
                round_floats(kind.weight, p->w1[e] + i * p->d, p->d, row);
                const float a = float_dot(row, x, p->d, how);
                round_floats(kind.weight, p->w3[e] + i * p->d, p->d, row);
                h[i] = a / (1.0f + expf(-a)) * float_dot(row, x, p->d, how);
            }
            round_floats(kind.h, h, p->ff, h);
            for (size_t c = 0; c < p->d; ++c) {
                round_floats(kind.weight, p->w2[e] + c * p->ff, p->ff, row);
                y[t * p->d + c] =
                    fmaf(combine_of(p->plan, t, r), float_dot(row, h, p->ff, how), y[t * p->d + c]);
            }
        }
    }
}

static adamoe_verdict verdict_of(const problem *p, adamoe_declared kind, const float *y)
{
    adamoe_yardstick yardstick;
    assert_ok(adamoe_yardstick_create(p->tokens * p->d, &yardstick));
    assert_ok(adamoe_layer_yardstick(&p->layer, kind, p->x, p->plan, &yardstick));
    const adamoe_verdict verdict = adamoe_judge(&yardstick, y, 1.0);
    adamoe_yardstick_free(&yardstick);
    return verdict;
}

#define SEEDS 150

enum { KINDS = 4 };
static const adamoe_declared kinds[KINDS] = {
    {.x = ADAMOE_FLOAT32,
     .h = ADAMOE_FLOAT32,
     .weight = ADAMOE_FLOAT32,
     .accumulate = ADAMOE_FLOAT32,
     .silu_error = 4.0},
    {.x = ADAMOE_BFLOAT16,
     .h = ADAMOE_BFLOAT16,
     .weight = ADAMOE_BFLOAT16,
     .accumulate = ADAMOE_FLOAT32,
     .silu_error = 4.0},
    {.x = ADAMOE_FLOAT32,
     .h = ADAMOE_FLOAT32,
     .weight = ADAMOE_BFLOAT16,
     .accumulate = ADAMOE_FLOAT32,
     .silu_error = 4.0},
    {.x = ADAMOE_INT8,
     .h = ADAMOE_INT8,
     .weight = ADAMOE_INT8,
     .accumulate = ADAMOE_FLOAT32,
     .silu_error = 4.0},
};

static void print_kind(adamoe_declared kind)
{
    print_message("x %s, h %s, weights %s: ", adamoe_arithmetic_name(kind.x), adamoe_arithmetic_name(kind.h),
                  adamoe_arithmetic_name(kind.weight));
}

static void honest_kernels_pass(void **state)
{
    (void)state;
    problem *p = calloc(1, sizeof *p);
    float y[MAX_T * MAX_D];
    assert_non_null(p);
    for (size_t k = 0; k < KINDS; ++k) {
        double largest = 0.0, largest_rms = 0.0, sum_rms = 0.0;
        for (uint64_t seed = 0; seed < SEEDS; ++seed) {
            make_problem(p, seed);
            float_layer(p, kinds[k], (order)(seed % 3), y);
            const adamoe_verdict verdict = verdict_of(p, kinds[k], y);
            if (!verdict.passed) {
                fail_msg("kind %zu, seed %llu: ratio %.3f, rms %.3f", k, (unsigned long long)seed,
                         verdict.largest_ratio, verdict.rms_ratio);
            }
            largest = fmax(largest, verdict.largest_ratio);
            largest_rms = fmax(largest_rms, verdict.rms_ratio);
            sum_rms += verdict.rms_ratio;
            free_problem(p);
        }
        print_kind(kinds[k]);
        print_message("largest error/bound %.3f, rms %.3f mean, %.3f largest\n", largest, sum_rms / SEEDS,
                      largest_rms);
    }
    free(p);
}

typedef void spoiler(const problem *p, adamoe_declared kind, float *y);

/* Wrongs that a tolerance of 1e-2 would let through, or nearly. */
static size_t count_caught(spoiler *spoil, adamoe_declared kind, size_t *tried)
{
    problem *p = calloc(1, sizeof *p);
    float y[MAX_T * MAX_D], honest[MAX_T * MAX_D];
    size_t caught = 0;
    assert_non_null(p);
    *tried = 0;
    for (uint64_t seed = 0; seed < SEEDS; ++seed) {
        make_problem(p, seed);
        if (p->plan->rows > 0) {
            float_layer(p, kind, ASCENDING, y);
            memcpy(honest, y, sizeof y);
            spoil(p, kind, y);
            if (memcmp(y, honest, p->tokens * p->d * sizeof *y) != 0) {
                caught += !verdict_of(p, kind, y).passed;
                ++*tried;
            }
        }
        free_problem(p);
    }
    free(p);
    return caught;
}

/* The last channel of h does not reach the output. */
static void drop_the_tail_of_h(const problem *p, adamoe_declared kind, float *y)
{
    problem *cut = malloc(sizeof *cut);
    assert_non_null(cut);
    memcpy(cut, p, sizeof *cut);
    for (size_t e = 0; e < N; ++e) {
        for (size_t c = 0; c < p->d; ++c) {
            cut->w2[e][c * p->ff + p->ff - 1] = 0.0f;
        }
    }
    float_layer(cut, kind, ASCENDING, y);
    free(cut);
}

static void round_everything_to_bfloat16(const problem *p, adamoe_declared kind, float *y)
{
    (void)kind;
    float_layer(p,
                (adamoe_declared){.x = ADAMOE_BFLOAT16,
                                  .h = ADAMOE_BFLOAT16,
                                  .weight = ADAMOE_FLOAT32,
                                  .accumulate = ADAMOE_FLOAT32,
                                  .silu_error = 4.0},
                ASCENDING, y);
}

/* One part in ten thousand. */
static void scale_slightly(const problem *p, adamoe_declared kind, float *y)
{
    (void)kind;
    for (size_t i = 0; i < p->tokens * p->d; ++i) {
        y[i] *= 1.0001f;
    }
}

/* Two parts in a hundred thousand: int8's scale is known better than that. */
static void scale_barely(const problem *p, adamoe_declared kind, float *y)
{
    (void)kind;
    for (size_t i = 0; i < p->tokens * p->d; ++i) {
        y[i] *= 1.00002f;
    }
}

/* One part in a thousand. */
static void scale_by_a_thousandth(const problem *p, adamoe_declared kind, float *y)
{
    (void)kind;
    for (size_t i = 0; i < p->tokens * p->d; ++i) {
        y[i] *= 1.001f;
    }
}

static void forget_a_token(const problem *p, adamoe_declared kind, float *y)
{
    (void)kind;
    for (size_t t = 0; t < p->tokens; ++t) {
        if (p->plan->token_offset[t] < p->plan->token_offset[t + 1]) {
            memset(y + t * p->d, 0, p->d * sizeof *y);
            return;
        }
    }
}

static void leave_a_nan(const problem *p, adamoe_declared kind, float *y)
{
    (void)kind;
    y[p->tokens * p->d - 1] = NAN;
}

static void wrong_kernels_fail(void **state)
{
    (void)state;
    spoiler *const spoils[] = {drop_the_tail_of_h, round_everything_to_bfloat16, scale_slightly,
                               forget_a_token, leave_a_nan};
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; ++i) {
        size_t tried = 0;
        const size_t caught = count_caught(spoils[i], kinds[0], &tried);
        print_message("wrong %zu: caught %zu of %zu\n", i, caught, tried);
        assert_true(tried > SEEDS / 2);
        assert_int_equal(caught, tried);
    }
}

static void small_wrongs_leave_the_bound_of_every_kind(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; ++k) {
        size_t tried = 0;
        const size_t dropped = count_caught(drop_the_tail_of_h, kinds[k], &tried);
        const size_t thousandth = count_caught(scale_by_a_thousandth, kinds[k], &tried);
        const size_t barely = count_caught(scale_barely, kinds[k], &tried);
        print_kind(kinds[k]);
        print_message("of %zu, a dropped channel caught %zu, 1.001 %zu, 1.00002 %zu\n", tried, dropped,
                      thousandth, barely);
        /* With int8 operands two of the dropped channels, 142 of 144 are caught, stay within what flips of
         * others may do. */
        assert_true(dropped == tried || (kinds[k].h == ADAMOE_INT8 && dropped + 2 >= tried));
        assert_int_equal(thousandth, tried);
        assert_int_equal(barely, tried);
        assert_true(tried > SEEDS / 2);
    }
}

/* The first half of the terms is positive and the second negative: the partial sums grow to K / 2 times a
 * term, and cancel. */
static void honest_sums_that_cancel_pass(void **state)
{
    (void)state;
    enum { ROWS = 8, COUNT = 4, MAX_K = 16384 };
    float *w = calloc(ROWS * MAX_K, sizeof *w), *x = calloc(COUNT * MAX_K, sizeof *x), y[COUNT * ROWS];
    assert_non_null(w);
    assert_non_null(x);
    for (size_t k = 64; k <= MAX_K; k *= 4) {
        random_state = k;
        for (size_t i = 0; i < COUNT * k; ++i) {
            x[i] = 1.5f + 0.25f * fmaxf(-2.0f, fminf(2.0f, random_value()));
        }
        for (size_t i = 0; i < ROWS * k; ++i) {
            w[i] = i % k < k / 2 ? 1.0f : -1.0f;
        }
        const adamoe_matrix matrix = {w, ADAMOE_F32, ROWS, k};
        adamoe_yardstick yardstick;
        assert_ok(adamoe_yardstick_create(COUNT * ROWS, &yardstick));
        assert_ok(adamoe_matrix_yardstick(&matrix, kinds[0], x, COUNT, &yardstick));
        for (int how = ASCENDING; how <= SIXTEEN_LANES; ++how) {
            for (size_t i = 0; i < COUNT * ROWS; ++i) {
                y[i] = float_dot(w + i % ROWS * k, x + i / ROWS * k, k, (order)how);
            }
            const adamoe_verdict verdict = adamoe_judge(&yardstick, y, 1.0);
            print_message("K %zu, order %d: largest error/bound %.3f, rms %.3f\n", k, how,
                          verdict.largest_ratio, verdict.rms_ratio);
            assert_true(verdict.passed);
        }
        adamoe_yardstick_free(&yardstick);
    }
    free(w);
    free(x);
}

/* y = 2^100 silu(a): two ways of computing silu that lose to underflow and overflow what a relative error
 * does not cover. */
/* 127 - 90 - 37 = 0 in steps: a kernel with integer sums gives 0, where the sum of the scaled values, in
 * double, is a little beside it for most scales. */
static void integer_steps_that_cancel_pass(void **state)
{
    (void)state;
    const adamoe_declared int8 = {.x = ADAMOE_INT8,
                                  .h = ADAMOE_INT8,
                                  .weight = ADAMOE_INT8,
                                  .accumulate = ADAMOE_INT32,
                                  .silu_error = 4.0};
    const float weight[] = {1.0f, -1.0f, -1.0f};
    const adamoe_matrix matrix = {weight, ADAMOE_F32, 1, 3};
    size_t residues = 0;
    for (int i = 1; i <= 100; ++i) {
        const float largest = sqrtf((float)i), step = largest / 127.0f;
        const float x[] = {largest, 90.0f * step, 37.0f * step}, got = 0.0f, one_step = step * step;
        adamoe_yardstick yardstick;
        assert_ok(adamoe_yardstick_create(1, &yardstick));
        assert_ok(adamoe_matrix_yardstick(&matrix, int8, x, 1, &yardstick));
        residues += yardstick.expected[0] != 0.0;
        assert_true(adamoe_judge(&yardstick, &got, 1.0).passed);
        assert_false(adamoe_judge(&yardstick, &one_step, 1.0).passed);
        adamoe_yardstick_free(&yardstick);
    }
    assert_true(residues > 0);
}

static void silu_far_below_zero(void **state)
{
    (void)state;
    const float x = 1.0f, one = 1.0f, large = 0x1p100f;
    float a = 0.0f;
    const adamoe_expert expert = {
        .w1 = {&a, ADAMOE_F32, 1, 1}, .w3 = {&one, ADAMOE_F32, 1, 1}, .w2 = {&large, ADAMOE_F32, 1, 1}};
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    *p = (problem){
        .d = 1,
        .ff = 1,
        .tokens = 1,
        .x = {x},
        .layer = {.hidden_size = 1, .intermediate_size = 1, .experts = 1, .expert = &expert},
    };
    assert_ok(adamoe_routing_create(&one, 1, 1, 0, (adamoe_rule){.top_k = 1}, &p->routing));
    assert_ok(adamoe_plan_create(p->routing, &p->plan));
    for (a = -80.0f; a > -110.0f; a -= 0.125f) {
        const float subnormal = a * (expf(a) / (1.0f + expf(a))) * large;
        const float overflowing = a / (1.0f + expf(-a)) * large;
        if (!verdict_of(p, kinds[0], &subnormal).passed || !verdict_of(p, kinds[0], &overflowing).passed) {
            fail_msg("silu(%.3f): bound too narrow", (double)a);
        }
    }
    a = -87.0f;
    const float wrong = 1.001f * a / (1.0f + expf(-a)) * large;
    assert_false(verdict_of(p, kinds[0], &wrong).passed);
    free_problem(p);
    free(p);
}

/* h is a product with a sum that cancels: its error exceeds a step of bfloat16 or int8 many times, and comes
 * through the rounding. */
static void rounding_does_not_hide_a_large_error(void **state)
{
    (void)state;
    static const adamoe_declared rounded_h[] = {
        {.x = ADAMOE_FLOAT32,
         .h = ADAMOE_BFLOAT16,
         .weight = ADAMOE_FLOAT32,
         .accumulate = ADAMOE_FLOAT32,
         .silu_error = 4.0},
        {.x = ADAMOE_FLOAT32,
         .h = ADAMOE_INT8,
         .weight = ADAMOE_FLOAT32,
         .accumulate = ADAMOE_FLOAT32,
         .silu_error = 4.0},
    };
    problem *p = calloc(1, sizeof *p);
    float y[MAX_T * MAX_D];
    assert_non_null(p);
    for (size_t k = 0; k < 2; ++k) {
        double largest = 0.0;
        size_t failed = 0;
        for (uint64_t seed = 0; seed < SEEDS; ++seed) {
            make_problem(p, seed);
            for (size_t t = 0; t < p->tokens; ++t) {
                for (size_t c = 0; c < p->d; ++c) { /* w3 x = 0, or 2^-14 of a term */
                    p->x[t * p->d + c] = c + 1 < p->d ? p->x[t * p->d] : 0.0f;
                }
            }
            for (size_t e = 0; e < N; ++e) {
                for (size_t i = 0; i < p->ff * p->d; ++i) {
                    const size_t c = i % p->d, half = (p->d - 1) / 2;
                    p->w3[e][i] = c < half ? 1.0f + (float)(i * 37 % 101) / 101.0f : 0.0f;
                    p->w3[e][i] = c >= half && c < 2 * half ? -p->w3[e][i - half] : p->w3[e][i];
                }
                for (size_t i = 0; i < p->ff; ++i) {
                    p->w3[e][i * p->d] += seed % 2 == 0 ? 0x1p-14f : 0.0f;
                }
            }
            float_layer(p, rounded_h[k], (order)(seed % 3), y);
            const adamoe_verdict verdict = verdict_of(p, rounded_h[k], y);
            largest = fmax(largest, verdict.largest_ratio);
            failed += !verdict.passed;
            free_problem(p);
        }
        print_kind(rounded_h[k]);
        print_message("largest error/bound %.3f, %zu of %d failed\n", largest, failed, SEEDS);
        assert_int_equal(failed, 0);
    }
    free(p);
}

static void a_yardstick_of_zeros_is_vacuous(void **state)
{
    (void)state;
    adamoe_yardstick yardstick;
    const float zeros[4] = {0};
    assert_ok(adamoe_yardstick_create(4, &yardstick));
    adamoe_verdict verdict = adamoe_judge(&yardstick, zeros, 1.0);
    assert_true(verdict.passed && verdict.vacuous);
    yardstick.expected[1] = 1.0;
    yardstick.spread[1] = INFINITY;
    verdict = adamoe_judge(&yardstick, zeros, 1.0);
    assert_true(verdict.vacuous);
    adamoe_yardstick_free(&yardstick);
}

/* Tokens without a row must be exactly 0 and do not count; of what is computed, half may be 0. */
static void mostly_zeros_are_vacuous(void **state)
{
    (void)state;
    adamoe_yardstick yardstick;
    float got[8] = {1.0f, 1.0f};
    assert_ok(adamoe_yardstick_create(8, &yardstick));
    for (size_t i = 0; i < 4; ++i) {
        yardstick.expected[i] = i < 2 ? 1.0 : 0.0;
        yardstick.slack[i] = 1e-6;
    }
    adamoe_verdict verdict = adamoe_judge(&yardstick, got, 1.0);
    assert_true(verdict.passed && !verdict.vacuous);
    yardstick.slack[4] = 1e-6;
    verdict = adamoe_judge(&yardstick, got, 1.0);
    assert_true(verdict.passed && verdict.vacuous);
    got[7] = 1e-30f;
    assert_false(adamoe_judge(&yardstick, got, 1.0).passed);
    adamoe_yardstick_free(&yardstick);
}

/* A token whose h is beyond float32: whatever comes of it is right, though w2 brings the exact value back, and the verdict
 * says so; its neighbour is judged as ever. */
static void what_overflows_is_not_judged(void **state)
{
    (void)state;
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    float y[MAX_T * MAX_D];
    for (size_t k = 0; k < KINDS; ++k) {
        make_problem(p, 5); /* six tokens, of which the first two have rows */
        const uint32_t *offset = p->plan->token_offset;
        assert_true(p->tokens > 1 && offset[1] > 0 && offset[2] > offset[1]);
        for (size_t c = 0; c < p->d; ++c) {
            p->x[c] = 3e30f;
        }
        for (size_t i = 0; i < p->d * p->ff; ++i) {
            for (size_t e = 0; e < N; ++e) {
                p->w2[e][i] *= 1e-30f;
            }
        }
        float_layer(p, kinds[k], ASCENDING, y);
        adamoe_verdict verdict = verdict_of(p, kinds[k], y);
        assert_true(verdict.passed && verdict.vacuous);
        y[p->d] += 1.0f;
        verdict = verdict_of(p, kinds[k], y);
        assert_true(!verdict.passed && verdict.worst == p->d);
        free_problem(p);
    }
    free(p);
}

/* 2 n exp(-lambda^2 / 2) = p. */
static void lambda_follows_from_the_probability(void **state)
{
    (void)state;
    const double lambda = adamoe_bound_factor(1000, 1e-12);
    assert_true(fabs(2000.0 * exp(-lambda * lambda / 2.0) / 1e-12 - 1.0) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_kernels_pass),
        cmocka_unit_test(wrong_kernels_fail),
        cmocka_unit_test(small_wrongs_leave_the_bound_of_every_kind),
        cmocka_unit_test(honest_sums_that_cancel_pass),
        cmocka_unit_test(integer_steps_that_cancel_pass),
        cmocka_unit_test(silu_far_below_zero),
        cmocka_unit_test(rounding_does_not_hide_a_large_error),
        cmocka_unit_test(a_yardstick_of_zeros_is_vacuous),
        cmocka_unit_test(mostly_zeros_are_vacuous),
        cmocka_unit_test(what_overflows_is_not_judged),
        cmocka_unit_test(lambda_follows_from_the_probability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The checker checked: honest kernels pass; kernels with one realistic bug, made as thin
 * wrappers round the reference, are caught by the tier that is there for it, at the place where the bug is.
 */
#include "test.h"
#include "check/run.h"
#include "kernel/kernel.h"
#include "machine/team.h"

/* ----------------------------------------------------------------------------------------- wrong kernels */

/* A wrapper holds the reference's weights, and views of the layer that it may have mixed up before. */
struct adamoe_prepared {
    adamoe_prepared *inner;
    adamoe_expert *expert;
    size_t hidden_size, experts;
};

static adamoe_status prepare_with(const adamoe_host *host, const adamoe_layer *layer,
                                  const adamoe_placement *placement, void (*spoil)(adamoe_expert *, size_t),
                                  adamoe_prepared **out)
{
    adamoe_prepared *prepared = calloc(1, sizeof *prepared);
    assert_non_null(prepared);
    prepared->expert = calloc(layer->experts, sizeof *prepared->expert);
    assert_non_null(prepared->expert);
    memcpy(prepared->expert, layer->expert, layer->experts * sizeof *prepared->expert);
    if (spoil != NULL) {
        spoil(prepared->expert, layer->experts);
    }
    adamoe_layer spoiled = *layer;
    spoiled.expert = prepared->expert;
    prepared->hidden_size = layer->hidden_size;
    prepared->experts = layer->experts;
    const adamoe_status status = adamoe_reference_kernel.prepare(host, &spoiled, placement, &prepared->inner);
    if (status.code != ADAMOE_OK) { /* the check refuses memory, too */
        free(prepared->expert);
        free(prepared);
        return status;
    }
    *out = prepared;
    return status;
}

static adamoe_status prepare_honestly(const adamoe_host *host, const adamoe_layer *layer,
                                      const adamoe_placement *placement, adamoe_prepared **out)
{
    return prepare_with(host, layer, placement, NULL, out);
}

static void release(adamoe_prepared *prepared)
{
    if (prepared == NULL) {
        return;
    }
    adamoe_reference_kernel.release(prepared->inner);
    free(prepared->expert);
    free(prepared);
}

static size_t work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    return adamoe_reference_kernel.work_bytes(prepared->inner, rows, tokens);
}

static adamoe_status experts_honestly(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                      const adamoe_plan *plan, float *y)
{
    return adamoe_reference_kernel.experts(prepared->inner, run, x, plan, y);
}

static void swap_two_experts(adamoe_expert *expert, size_t count)
{
    const adamoe_expert first = expert[0];
    expert[0] = expert[count - 1];
    expert[count - 1] = first;
}

static void swap_w1_and_w3(adamoe_expert *expert, size_t count)
{
    for (size_t e = 0; e < count; ++e) {
        const adamoe_matrix w1 = expert[e].w1;
        expert[e].w1 = expert[e].w3;
        expert[e].w3 = w1;
    }
}

static adamoe_status prepare_swapped_experts(const adamoe_host *host, const adamoe_layer *layer,
                                             const adamoe_placement *placement, adamoe_prepared **out)
{
    return prepare_with(host, layer, placement, swap_two_experts, out);
}

static adamoe_status prepare_swapped_matrices(const adamoe_host *host, const adamoe_layer *layer,
                                              const adamoe_placement *placement, adamoe_prepared **out)
{
    return prepare_with(host, layer, placement, swap_w1_and_w3, out);
}

/* A tail of the hidden size that no loop reaches. */
static adamoe_status experts_without_last_column(adamoe_prepared *prepared, const adamoe_run *run,
                                                 const float *x, const adamoe_plan *plan, float *y)
{
    const size_t d = prepared->hidden_size;
    assert_ok(experts_honestly(prepared, run, x, plan, y));
    for (size_t t = 0; t < plan->tokens; ++t) {
        y[t * d + d - 1] = 0.0f;
    }
    return adamoe_ok();
}

static bool is_last_of_its_expert(const adamoe_plan *plan, size_t row)
{
    size_t e = 0;
    while (plan->offset[e + 1] <= row) {
        ++e;
    }
    return plan->offset[e + 1] - 1 == row;
}

/* The last row of every expert counts for nothing. */
static adamoe_status experts_without_last_token(adamoe_prepared *prepared, const adamoe_run *run,
                                                const float *x, const adamoe_plan *plan, float *y)
{
    const size_t places = plan->token_offset[plan->tokens];
    float *combine = calloc(places + 1, sizeof *combine);
    assert_non_null(combine);
    for (size_t i = 0; i < places; ++i) {
        const size_t row = plan->token_row[i];
        combine[i] = is_last_of_its_expert(plan, row) ? 0.0f : plan->combine[i];
    }
    adamoe_plan spoiled = *plan;
    spoiled.combine = combine;
    const adamoe_status status = experts_honestly(prepared, run, x, &spoiled, y);
    free(combine);
    return status;
}

/* Rows of tokens that selected null experts alone stay as they were. */
static adamoe_status experts_that_skip_null_tokens(adamoe_prepared *prepared, const adamoe_run *run,
                                                   const float *x, const adamoe_plan *plan, float *y)
{
    const size_t d = prepared->hidden_size, count = plan->tokens * d;
    float *before = calloc(count + 1, sizeof *before);
    assert_non_null(before);
    memcpy(before, y, count * sizeof *y);
    assert_ok(experts_honestly(prepared, run, x, plan, y));
    for (size_t t = 0; t < plan->tokens; ++t) {
        if (plan->token_offset[t] == plan->token_offset[t + 1]) {
            memcpy(y + t * d, before + t * d, d * sizeof *y);
        }
    }
    free(before);
    return adamoe_ok();
}

static adamoe_status experts_scaled(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                    const adamoe_plan *plan, float *y)
{
    assert_ok(experts_honestly(prepared, run, x, plan, y));
    for (size_t i = 0; i < plan->tokens * prepared->hidden_size; ++i) {
        y[i] *= 1.0001f;
    }
    return adamoe_ok();
}

static adamoe_status experts_without_dispatch(adamoe_prepared *prepared, const adamoe_run *run,
                                              const float *x, const adamoe_plan *plan, float *y)
{
    adamoe_plan spoiled = *plan;
    spoiled.dispatch = NULL;
    return experts_honestly(prepared, run, x, &spoiled, y);
}

static adamoe_status experts_without_identity(adamoe_prepared *prepared, const adamoe_run *run,
                                              const float *x, const adamoe_plan *plan, float *y)
{
    adamoe_plan spoiled = *plan;
    spoiled.self_scale = NULL;
    return experts_honestly(prepared, run, x, &spoiled, y);
}

static adamoe_status experts_that_fail(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                       const adamoe_plan *plan, float *y)
{
    (void)prepared;
    (void)run;
    (void)x;
    (void)plan;
    (void)y;
    return adamoe_error(ADAMOE_ENVIRONMENT, "wrong: no such luck");
}

static size_t work_without_end(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)prepared;
    (void)rows;
    (void)tokens;
    return SIZE_MAX;
}

/* The dense product's rows are known through its workspace alone; so the test keeps them. */
static size_t matrix_rows;

static adamoe_status prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,
                                    const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    matrix_rows = matrix->rows;
    return adamoe_reference_kernel.prepare_matrix(host, matrix, placement, out);
}

/* The last column is summed in another order, as a scalar tail would: one bit. */
static adamoe_status multiply_with_another_tail(adamoe_prepared_matrix *prepared, const adamoe_run *run,
                                                const float *x, size_t count, float *y)
{
    assert_ok(adamoe_reference_kernel.multiply(prepared, run, x, count, y));
    for (size_t i = 0; i < count && matrix_rows > 1; ++i) {
        float *last = &y[i * matrix_rows + matrix_rows - 1];
        *last = nextafterf(*last, 0.0f);
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ running */

static adamoe_case *cases;
static size_t case_count;
static adamoe_team *team;

static int set_up(void **state)
{
    (void)state;
    return adamoe_check_grid(NULL, false, &cases, &case_count).code == ADAMOE_OK &&
                   adamoe_team_create(2, &team).code == ADAMOE_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(cases);
    adamoe_team_free(team);
    return 0;
}

static adamoe_check_result run_named(const adamoe_kernel *kernel, const char *name, uint64_t seed)
{
    adamoe_case c;
    adamoe_check_result result;
    assert_true(adamoe_parse_case(name, &c));
    assert_ok(adamoe_check_run(kernel, &c, seed, team, NULL, &result));
    return result;
}

typedef struct tally {
    size_t count[ADAMOE_CHECK_STATUSES];
    double largest_ratio;
} tally;

/* Runs the cases whose names contain `part`. */
static tally run_all(const adamoe_kernel *kernel, const char *part)
{
    tally sum = {0};
    for (size_t i = 0; i < case_count; ++i) {
        adamoe_check_result result;
        if (strstr(adamoe_name_case(&cases[i]).text, part) != NULL) {
            assert_ok(adamoe_check_run(kernel, &cases[i], 1, team, NULL, &result));
            ++sum.count[result.status];
            sum.largest_ratio = fmax(sum.largest_ratio, result.largest_ratio);
        }
    }
    return sum;
}

static void expect_honest(const adamoe_kernel *kernel, const char *part)
{
    const tally sum = run_all(kernel, part);
    print_message("%s: %s: %zu passed, %zu vacuous, %zu skipped; largest error/bound %.3f\n", kernel->name,
                  part, sum.count[ADAMOE_CHECK_PASSED], sum.count[ADAMOE_CHECK_VACUOUS],
                  sum.count[ADAMOE_CHECK_SKIPPED], sum.largest_ratio);
    assert_int_equal(sum.count[ADAMOE_CHECK_FAILED], 0);
    assert_true(sum.count[ADAMOE_CHECK_PASSED] > 3 * sum.count[ADAMOE_CHECK_VACUOUS]);
}

/* The reference, which takes all weights and has all products, in the tiers that judge numbers; the example, which takes
 * a third of its time and is not the definition, in those that call a kernel again and again, and at one width in all. */
static void honest_kernels_pass(void **state)
{
    (void)state;
    for (adamoe_tier tier = 0; tier < ADAMOE_TIERS; ++tier) {
        char part[32];
        (void)snprintf(part, sizeof part, "%s/", adamoe_tier_names[tier]);
        if (tier != ADAMOE_TIER_BITWISE && tier != ADAMOE_TIER_PROPERTY) {
            expect_honest(&adamoe_reference_kernel, part);
        } else { /* float32 weights only, no dense product */
            expect_honest(adamoe_plugin_export.kernel[0], part);
        }
    }
    expect_honest(adamoe_plugin_export.kernel[0], "ff:33/");
}

/* ----------------------------------------------------------------------------------------------- the bugs */

/* A bug, a case that shows it, the tier that catches it and the first place where it shows (NONE: many). */
#define NONE SIZE_MAX

typedef struct bug {
    const char *name, *on, *tier;
    size_t row, column;
    adamoe_status (*prepare)(const adamoe_host *, const adamoe_layer *, const adamoe_placement *,
                             adamoe_prepared **);
    adamoe_status (*experts)(adamoe_prepared *, const adamoe_run *, const float *, const adamoe_plan *,
                             float *);
    adamoe_status (*multiply)(adamoe_prepared_matrix *, const adamoe_run *, const float *, size_t, float *);
} bug;

#define SHAPE "experts/d:33/ff:17/n:8/m:8/k:3/tokens:16/"

static const bug bugs[] = {
    {"last column skipped", SHAPE "routing:skewed/weights:f32", "bound", NONE, 32, NULL,
     experts_without_last_column, NULL},
    {"last token of an expert dropped", SHAPE "routing:lone/weights:bf16", "bound", 15, NONE, NULL,
     experts_without_last_token, NULL},
    {"two experts swapped", SHAPE "routing:random/weights:f16", "bound", NONE, NONE, prepare_swapped_experts,
     NULL, NULL},
    {"w1 and w3 swapped", SHAPE "routing:random/weights:f32", "bound", NONE, NONE, prepare_swapped_matrices,
     NULL, NULL},
    {"all-null rows not written", SHAPE "routing:null/weights:f32", "bound", 0, 0, NULL,
     experts_that_skip_null_tokens, NULL},
    {"scaled by 1.0001", SHAPE "routing:balanced/weights:bf16", "bound", NONE, NONE, NULL, experts_scaled,
     NULL},
    {"dispatch ignored", SHAPE "routing:random/dispatch/weights:f32", "bound", NONE, NONE, NULL,
     experts_without_dispatch, NULL},
    {"identity experts ignored", SHAPE "routing:null/null:identity/weights:f32", "bound", NONE, NONE, NULL,
     experts_without_identity, NULL},
    {"equal rows, unequal bits", "multiply/rows:33/columns:65/count:7/weights:bf16", "bitwise", 0, 32, NULL,
     NULL, multiply_with_another_tail},
};

static adamoe_kernel kernel_with(const bug *b)
{
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.name = b->name;
    kernel.accumulate = ADAMOE_FLOAT32; /* the wider bound: a bug must not be caught by the reference's own */
    kernel.prepare = b->prepare != NULL ? b->prepare : prepare_honestly;
    kernel.release = release;
    kernel.work_bytes = work_bytes;
    kernel.experts = b->experts != NULL ? b->experts : experts_honestly;
    kernel.prepare_matrix = prepare_matrix;
    kernel.multiply = b->multiply != NULL ? b->multiply : adamoe_reference_kernel.multiply;
    return kernel;
}

static void the_wrapper_itself_is_honest(void **state)
{
    (void)state;
    const bug none = {.name = "wrapper"};
    const adamoe_kernel kernel = kernel_with(&none);
    assert_int_equal(run_all(&kernel, "ff:33/").count[ADAMOE_CHECK_FAILED], 0);
    assert_int_equal(run_all(&kernel, "rows:33/").count[ADAMOE_CHECK_FAILED], 0);
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; ++i) {
        assert_int_not_equal(run_named(&kernel, bugs[i].on, 1).status, ADAMOE_CHECK_FAILED);
    }
}

/* On the case made for it, where the place is known, and on the grid, where nobody told the checker. */
static void every_bug_is_caught(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; ++i) {
        const adamoe_kernel kernel = kernel_with(&bugs[i]);
        const adamoe_check_result result = run_named(&kernel, bugs[i].on, 1);
        const tally sum = run_all(&kernel, bugs[i].multiply != NULL ? "bound/multiply/" : "ff:33/");
        print_message("%s: %s tier: %s; caught in %zu of %zu cases\n", bugs[i].name,
                      adamoe_tier_names[result.tier], result.detail, sum.count[ADAMOE_CHECK_FAILED],
                      sum.count[ADAMOE_CHECK_FAILED] + sum.count[ADAMOE_CHECK_PASSED]);
        assert_int_equal(result.status, ADAMOE_CHECK_FAILED);
        assert_string_equal(adamoe_tier_names[result.tier], bugs[i].tier);
        assert_true(result.has_element);
        assert_true(bugs[i].row == NONE || result.row == bugs[i].row);
        assert_true(bugs[i].column == NONE || result.column == bugs[i].column);
        assert_true(sum.count[ADAMOE_CHECK_FAILED] > 0);
    }
}

static void what_a_failure_says(void **state)
{
    (void)state;
    const adamoe_kernel kernel = kernel_with(&bugs[0]);
    const adamoe_check_result result = run_named(&kernel, bugs[0].on, 1);
    assert_string_equal(result.detail, "an element beyond its bound");
    assert_true(result.got == 0.0);
    assert_true(fabs(result.expected) > result.bound && result.bound > 0.0);
    assert_true(fabs(result.largest_ratio - fabs(result.expected) / result.bound) <
                1e-9 * result.largest_ratio);
    const adamoe_kernel forgetful = kernel_with(&bugs[4]);
    const adamoe_check_result nothing = run_named(&forgetful, bugs[4].on, 1);
    assert_string_equal(nothing.detail, "a NaN, or not written");
    assert_true(isnan(nothing.got) && isinf(nothing.largest_ratio));
}

/* The data are those of the name and the seed. */
static void a_seed_repeats_a_case(void **state)
{
    (void)state;
    const adamoe_kernel kernel = kernel_with(&bugs[0]);
    const double first = run_named(&kernel, bugs[0].on, 1).expected;
    assert_true(first == run_named(&kernel, bugs[0].on, 1).expected);
    assert_true(first != run_named(&kernel, bugs[0].on, 2).expected);
}

static void what_a_kernel_reports_is_a_result(void **state)
{
    (void)state;
    const bug failing = {.name = "failing", .experts = experts_that_fail};
    adamoe_kernel kernel = kernel_with(&failing);
    adamoe_check_result result = run_named(&kernel, SHAPE "routing:random/weights:f32", 1);
    assert_int_equal(result.status, ADAMOE_CHECK_FAILED);
    assert_string_equal(result.detail, "experts: wrong: no such luck");
    assert_false(result.has_element);

    kernel.work_bytes = work_without_end;
    result = run_named(&kernel, SHAPE "routing:random/weights:f32", 1);
    assert_int_equal(result.status, ADAMOE_CHECK_FAILED);
    assert_non_null(strstr(result.detail, "no memory for the workspace of 18446744073709551615 bytes"));

    result = run_named(adamoe_plugin_export.kernel[0], SHAPE "routing:random/weights:bf16", 1);
    assert_int_equal(result.status, ADAMOE_CHECK_SKIPPED);
    assert_string_equal(result.detail, "prepare: example: expert 0: the weights are not float32");
    result = run_named(adamoe_plugin_export.kernel[0], "multiply/rows:3/columns:3/count:1/weights:f32", 1);
    assert_int_equal(result.status, ADAMOE_CHECK_SKIPPED);
    assert_string_equal(result.detail, "the kernel has no dense product");
}

static void what_proves_nothing_is_vacuous(void **state)
{
    (void)state;
    adamoe_check_result result = run_named(&adamoe_reference_kernel, SHAPE "routing:null/weights:f32", 1);
    assert_int_equal(result.status, ADAMOE_CHECK_VACUOUS);
    assert_string_equal(result.detail, "every expected value is 0");
    result = run_named(&adamoe_reference_kernel,
                       "experts/d:8/ff:8/n:8/m:8/k:3/tokens:0/routing:random/weights:f32", 1);
    assert_int_equal(result.status, ADAMOE_CHECK_VACUOUS);
    assert_string_equal(result.detail, "there is nothing to compare");
}

/* What a kernel was given, seen from inside. */
static adamoe_run seen;
static const float *seen_x, *seen_y;
static size_t asked_for;
static bool seen_odd_weights;

static size_t odd_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    asked_for = work_bytes(prepared, rows, tokens) + 3;
    return asked_for;
}

static adamoe_status experts_that_look(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                       const adamoe_plan *plan, float *y)
{
    seen = *run;
    seen_x = x;
    seen_y = y;
    for (size_t i = 0; i < run->work_bytes; ++i) {
        assert_int_equal(((const unsigned char *)run->work)[i], 0xff);
    }
    for (size_t i = 0; i < plan->tokens * prepared->hidden_size; ++i) {
        assert_true(isnan(y[i]));
    }
    seen_odd_weights = seen_odd_weights || (uintptr_t)prepared->expert[0].w1.data % 2 == 1;
    return experts_honestly(prepared, run, x, plan, y);
}

static void nothing_is_better_than_promised(void **state)
{
    (void)state;
    const bug looking = {.name = "looking", .experts = experts_that_look};
    adamoe_kernel kernel = kernel_with(&looking);
    kernel.work_bytes = odd_work_bytes;
    const adamoe_check_result result = run_named(&kernel, SHAPE "routing:random/weights:f32", 1);
    assert_int_equal(result.status, ADAMOE_CHECK_PASSED);
    assert_int_equal(seen.work_bytes, asked_for);
    assert_true(seen_odd_weights);
    assert_int_equal((uintptr_t)seen.work % 128, 64);
    assert_int_equal((uintptr_t)seen_x % 8, 4);
    assert_int_equal((uintptr_t)seen_y % 8, 4);
    assert_int_equal(seen.team->threads, team->threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_kernels_pass),
        cmocka_unit_test(the_wrapper_itself_is_honest),
        cmocka_unit_test(every_bug_is_caught),
        cmocka_unit_test(what_a_failure_says),
        cmocka_unit_test(a_seed_repeats_a_case),
        cmocka_unit_test(what_a_kernel_reports_is_a_result),
        cmocka_unit_test(what_proves_nothing_is_vacuous),
        cmocka_unit_test(nothing_is_better_than_promised),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

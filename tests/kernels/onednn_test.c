/*
 * The kernels on oneDNN: whole layers computed elsewhere, the sizes where their blocks end, repeated rows of
 * the dense product, any number of threads, and a workspace that is exactly as large as they ask for. Each
 * test runs for each of the two kernels; one that this processor cannot run is skipped, visibly.
 */
#include "test.h"
#include "router.h"
#include "plan.h"
#include "bound/judge.h"
#include "bound/bound.h"
#include "checkpoint.h"
#include "machine/host.h"
#include "numbers.h"
#include "onednn/kernel.h"
#include "machine/team.h"

#include <glob.h>

#define SKIP_UNLESS_SUPPORTED(kernel)                                                                        \
    do {                                                                                                     \
        const char *why_not = NULL;                                                                          \
        if (!(kernel)->supported(&why_not)) {                                                                \
            print_message("skipped: %s: %s\n", (kernel)->name, why_not);                                     \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

/* ------------------------------------------------------------------------------- a call within its bounds */

enum { GUARD = 4096, GUARD_BYTE = 0xA5 };

/* A workspace of exactly `bytes` bytes between two guards. */
typedef struct guarded {
    unsigned char *memory;
    size_t bytes;
} guarded;

static guarded guarded_create(size_t bytes)
{
    guarded g = {adamoe_heap_host.allocate(NULL, bytes + 2 * GUARD, 64), bytes};
    assert_non_null(g.memory);
    memset(g.memory, GUARD_BYTE, bytes + 2 * GUARD);
    return g;
}

static void guarded_check_and_free(guarded *g)
{
    for (size_t i = 0; i < GUARD; ++i) {
        assert_int_equal(g->memory[i], GUARD_BYTE);
        assert_int_equal(g->memory[GUARD + g->bytes + i], GUARD_BYTE);
    }
    adamoe_heap_host.release(NULL, g->memory);
}

/* The contract's `experts` into an array of NaN. */
static void run_experts(const adamoe_kernel *kernel, const adamoe_layer *layer, const float *x,
                        const adamoe_plan *plan, uint32_t threads, float *y)
{
    adamoe_team *team = NULL;
    adamoe_prepared *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(threads);
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(kernel->prepare(&adamoe_heap_host, layer, &placement, &prepared));
    guarded work = guarded_create(kernel->work_bytes(prepared, plan->rows, plan->tokens));
    const adamoe_run run = {.team = team, .work = work.memory + GUARD, .work_bytes = work.bytes};
    for (size_t i = 0; i < plan->tokens * layer->hidden_size; ++i) {
        y[i] = NAN;
    }
    assert_ok(kernel->experts(prepared, &run, x, plan, y));
    guarded_check_and_free(&work);
    kernel->release(prepared);
    adamoe_team_free(team);
}

static void run_multiply(const adamoe_kernel *kernel, const adamoe_matrix *matrix, const float *x,
                         size_t count, uint32_t threads, float *y)
{
    adamoe_team *team = NULL;
    adamoe_prepared_matrix *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(threads);
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(kernel->prepare_matrix(&adamoe_heap_host, matrix, &placement, &prepared));
    guarded work = guarded_create(kernel->matrix_work_bytes(prepared, count));
    const adamoe_run run = {.team = team, .work = work.memory + GUARD, .work_bytes = work.bytes};
    for (size_t i = 0; i < count * matrix->rows; ++i) {
        y[i] = NAN;
    }
    assert_ok(kernel->multiply(prepared, &run, x, count, y));
    guarded_check_and_free(&work);
    kernel->release_matrix(prepared);
    adamoe_team_free(team);
}

static void assert_passes(const adamoe_yardstick *yardstick, const float *got, const char *what)
{
    const adamoe_verdict verdict = adamoe_judge(yardstick, got, 1.0);
    if (!verdict.passed) {
        fail_msg("%s: element %zu: %.9g, expected %.9g: %.3g of what is allowed", what, verdict.worst,
                 (double)got[verdict.worst], yardstick->expected[verdict.worst], verdict.largest_ratio);
    }
    assert_false(verdict.vacuous);
}

static void judge_experts(const adamoe_kernel *kernel, const adamoe_layer *layer, const float *x,
                          const adamoe_plan *plan, const float *y, const char *what)
{
    adamoe_yardstick yardstick;
    assert_ok(adamoe_yardstick_create(plan->tokens * layer->hidden_size, &yardstick));
    assert_ok(adamoe_layer_yardstick(layer, adamoe_kernel_arithmetic(kernel), x, plan, &yardstick));
    assert_passes(&yardstick, y, what);
    adamoe_yardstick_free(&yardstick);
}

/* -------------------------------------------------------------------------- layers computed elsewhere */

static void assert_near_expected(const adamoe_safetensors *tensors, const float *y, const char *what)
{
    const adamoe_tensor *expected = adamoe_safetensors_find(tensors, "expected.output_f64_rounded");
    assert_non_null(expected);
    for (size_t i = 0; i < expected->elements; ++i) {
        const double e = (double)adamoe_element(expected->data, ADAMOE_F32, i);
        if (!(fabs((double)y[i] - e) <= 1e-5 * fmax(1.0, fabs(e)))) {
            fail_msg("%s: element %zu: %.9g, expected %.9g", what, i, (double)y[i], e);
        }
    }
}

static void check_file(const adamoe_kernel *kernel, const char *path)
{
    adamoe_layer_file *file = NULL;
    adamoe_routing *routing = NULL;
    adamoe_plan *plan = NULL;
    size_t tokens = 0;
    assert_ok(adamoe_layer_file_open(path, &file));
    const adamoe_layer *layer = adamoe_layer_file_layer(file);
    const float *x = adamoe_layer_file_hidden_states(file, &tokens);
    float *logits = calloc(tokens * (layer->experts + layer->null_experts), sizeof *logits);
    float *y = calloc(tokens * layer->hidden_size, sizeof *y);
    assert_true(logits != NULL && y != NULL);
    adamoe_router_logits(layer, x, tokens, logits);
    assert_ok(adamoe_routing_create(logits, tokens, layer->experts, layer->null_experts,
                                    adamoe_layer_file_rule(file), &routing));
    assert_ok(adamoe_plan_create(routing, &plan));
    run_experts(kernel, layer, x, plan, 2, y);
    judge_experts(kernel, layer, x, plan, y, path);
    if (kernel->weight == ADAMOE_FLOAT32) {
        assert_near_expected(adamoe_layer_file_tensors(file), y, path);
    }
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
    free(y);
    free(logits);
    adamoe_layer_file_close(file);
}

static size_t check_pattern(const adamoe_kernel *kernel, const char *pattern)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) {
        return 0;
    }
    const size_t count = found.gl_pathc;
    for (size_t i = 0; i < count; ++i) {
        check_file(kernel, found.gl_pathv[i]);
    }
    globfree(&found);
    return count;
}

static void golden_layers(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    assert_int_equal(check_pattern(kernel, SOURCE_PATH("tests/golden/layer/*.safetensors")), 6);
}

static void authors_layers(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    SKIP_WITHOUT(SHARED_PATH("oracle"));
    assert_true(check_pattern(kernel, SHARED_PATH("oracle/*.safetensors")) >= 6);
}

static void layers_of_the_open_rules(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    SKIP_WITHOUT(SHARED_PATH("oracle/rules"));
    assert_true(check_pattern(kernel, SHARED_PATH("oracle/rules/*.safetensors")) >= 10);
}

/* ------------------------------------------------------------------------------------- sizes of blocks */

static float *random_floats(size_t count, uint64_t seed)
{
    float *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    uint64_t state = seed;
    for (size_t i = 0; i < count; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)((double)(state >> 40) * 0x1p-23 - 1.0);
    }
    return values;
}

typedef struct problem {
    adamoe_layer layer;
    adamoe_expert expert[8];
    float *weights, *x, *y, *dispatch;
    adamoe_routing *routing;
    adamoe_plan *plan;
    adamoe_plan scaled; /* the same, with scaled inputs */
} problem;

static problem *make_problem(size_t d, size_t ff, size_t experts, size_t null_experts, size_t tokens)
{
    const size_t all = experts + null_experts, part = d * ff;
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->weights = random_floats(experts * 3 * part, 1);
    p->x = random_floats(tokens * d, 2);
    p->y = random_floats(tokens * d, 3);
    for (size_t e = 0; e < experts; ++e) {
        const float *w = p->weights + e * 3 * part;
        p->expert[e] = (adamoe_expert){.w1 = {w, ADAMOE_F32, ff, d},
                                       .w3 = {w + part, ADAMOE_F32, ff, d},
                                       .w2 = {w + 2 * part, ADAMOE_F32, d, ff}};
    }
    p->layer = (adamoe_layer){.hidden_size = d,
                              .intermediate_size = ff,
                              .experts = experts,
                              .null_experts = null_experts,
                              .expert = p->expert};
    float *logits = random_floats(tokens * all, 4);
    const adamoe_rule rule = {.top_k = (all + 1) / 2, .null_kind = ADAMOE_NULL_IDENTITY};
    assert_ok(adamoe_routing_create(logits, tokens, experts, null_experts, rule, &p->routing));
    assert_ok(adamoe_plan_create(p->routing, &p->plan));
    free(logits);
    p->dispatch = random_floats(p->plan->rows, 5);
    p->scaled = *p->plan;
    p->scaled.dispatch = p->dispatch;
    return p;
}

static void free_problem(problem *p)
{
    adamoe_plan_free(p->plan);
    adamoe_routing_free(p->routing);
    free(p->weights);
    free(p->x);
    free(p->y);
    free(p->dispatch);
    free(p);
}

static void check_problem(const adamoe_kernel *kernel, size_t d, size_t ff, size_t experts,
                          size_t null_experts, size_t tokens)
{
    char what[96];
    (void)snprintf(what, sizeof what, "%s, d %zu, ff %zu, n %zu, m %zu, %zu tokens", kernel->name, d, ff,
                   experts, null_experts, tokens);
    problem *p = make_problem(d, ff, experts, null_experts, tokens);
    run_experts(kernel, &p->layer, p->x, p->plan, 2, p->y);
    judge_experts(kernel, &p->layer, p->x, p->plan, p->y, what);
    run_experts(kernel, &p->layer, p->x, &p->scaled, 2, p->y);
    judge_experts(kernel, &p->layer, p->x, &p->scaled, p->y, what);
    free_problem(p);
}

/* One expert with two whole blocks of 512 rows and a rest; the rest in steps of 64 rows, and
 * a rest of that. */
static void more_rows_than_a_block(void **state)
{
    SKIP_UNLESS_SUPPORTED((const adamoe_kernel *)*state);
    check_problem(*state, 24, 17, 1, 0, 513);
    check_problem(*state, 24, 17, 1, 0, 1089);
}

/* One column in the second block of 768: of h, and of the output. */
static void more_columns_than_a_block(void **state)
{
    SKIP_UNLESS_SUPPORTED((const adamoe_kernel *)*state);
    check_problem(*state, 24, 769, 3, 2, 41);
    check_problem(*state, 769, 5, 3, 2, 41);
}

/* What oneDNN asks for as scratch memory depends on the number of rows: `work_bytes` holds for each of them,
 * which the kernel checks itself and the guards show. */
static void any_number_of_rows(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    for (size_t tokens = 1; tokens <= 576; tokens += tokens < 67 ? 1 : 61) {
        problem *p = make_problem(33, 70, 1, 0, tokens);
        run_experts(kernel, &p->layer, p->x, p->plan, 1, p->y);
        for (size_t i = 0; i < tokens * 33; ++i) {
            assert_true(isfinite(p->y[i]));
        }
        free_problem(p);
    }
}

static void no_tokens(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    problem *p = make_problem(8, 8, 2, 1, 0);
    float y[1] = {7.0f};
    run_experts(kernel, &p->layer, p->x, p->plan, 2, y);
    const adamoe_matrix matrix = {p->weights, ADAMOE_F32, 5, 8};
    run_multiply(kernel, &matrix, p->x, 0, 2, y);
    assert_true(y[0] == 7.0f);
    free_problem(p);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    assert_true((kernel->guarantees & ADAMOE_SAME_BITS_THREADS) != 0);
    problem *p = make_problem(40, 800, 5, 3, 300);
    float *y = random_floats(300 * 40, 0), *product = random_floats(600 * 801, 0);
    float *first = random_floats(600 * 801, 0), *rows = random_floats(801 * 20, 6);
    const adamoe_matrix matrix = {rows, ADAMOE_F32, 801, 20};
    run_experts(kernel, &p->layer, p->x, p->plan, 1, p->y);
    run_multiply(kernel, &matrix, p->x, 600, 1, first);
    for (uint32_t threads = 1; threads <= 5; ++threads) {
        run_experts(kernel, &p->layer, p->x, p->plan, threads, y);
        assert_memory_equal(y, p->y, 300 * 40 * sizeof *y);
        run_multiply(kernel, &matrix, p->x, 600, threads, product);
        assert_memory_equal(product, first, 600 * 801 * sizeof *product);
    }
    free(y);
    free(product);
    free(first);
    free(rows);
    free_problem(p);
}

/* ---------------------------------------------------------------------------------- the dense product */

/* Rows [copied[i]] are made equal to row `from`; their columns of y must have equal bits. */
static void check_equal_rows(const adamoe_kernel *kernel, size_t rows, size_t columns, size_t count,
                             size_t from, const size_t *copied, size_t copies)
{
    float *w = random_floats(rows * columns, 7), *x = random_floats(count * columns, 8);
    float *y = random_floats(count * rows, 9);
    for (size_t i = 0; i < copies; ++i) {
        memcpy(w + copied[i] * columns, w + from * columns, columns * sizeof *w);
    }
    const adamoe_matrix matrix = {w, ADAMOE_F32, rows, columns};
    run_multiply(kernel, &matrix, x, count, 2, y);
    for (size_t t = 0; t < count; ++t) {
        for (size_t i = 0; i < copies; ++i) {
            assert_memory_equal(&y[t * rows + copied[i]], &y[t * rows + from], sizeof *y);
        }
    }
    adamoe_yardstick yardstick;
    assert_ok(adamoe_yardstick_create(count * rows, &yardstick));
    assert_ok(adamoe_matrix_yardstick(&matrix, adamoe_kernel_arithmetic(kernel), x, count, &yardstick));
    assert_passes(&yardstick, y, kernel->name);
    adamoe_yardstick_free(&yardstick);
    free(w);
    free(x);
    free(y);
}

static void equal_rows_give_equal_bits(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    const size_t in_the_tail[] = {7, 16, 18}, in_the_second_block[] = {0, 767, 768, 800};
    check_equal_rows(kernel, 19, 40, 67, 3, in_the_tail, 3);
    check_equal_rows(kernel, 801, 9, 520, 5, in_the_second_block, 4);
    check_equal_rows(kernel, 801, 9, 520, 5, NULL, 0);
}

/* ------------------------------------------------------------------------------------- silu's far ends */

/* With w1 = w3 = w2 = 1 and d = ff = 1, y = silu(x) * x. exp(-89) is below the smallest normal number, and
 * exp(89) above the largest one. */
static void silu_of_large_arguments(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    static const float x[] = {-89.0f, -100.0f, -110.0f, 100.0f}, one = 1.0f;
    const adamoe_expert expert = {
        .w1 = {&one, ADAMOE_F32, 1, 1}, .w3 = {&one, ADAMOE_F32, 1, 1}, .w2 = {&one, ADAMOE_F32, 1, 1}};
    const adamoe_layer layer = {.hidden_size = 1, .intermediate_size = 1, .experts = 1, .expert = &expert};
    const float logits[4] = {0};
    const bool halves = kernel->h == ADAMOE_BFLOAT16;
    adamoe_routing *routing = NULL;
    adamoe_plan *plan = NULL;
    float y[4];
    assert_ok(adamoe_routing_create(logits, 4, 1, 0, (adamoe_rule){.top_k = 1}, &routing));
    assert_ok(adamoe_plan_create(routing, &plan));
    run_experts(kernel, &layer, x, plan, 1, y);
    for (size_t i = 0; i < 4; ++i) {
        const double z = (double)x[i], expected = z / (1.0 + exp(-z)) * z;
        /* exp(z) has been rounded to a multiple of 2^-149; bfloat16 products may take what is below 2^-126
         * for 0. */
        const double underflow = halves ? 0x1p-126 : z * z * 0x1p-149;
        const double allowed = fabs(expected) * (halves ? 0x1p-8 : 0x1p-20) + underflow;
        if (!(fabs((double)y[i] - expected) <= allowed)) {
            fail_msg("x = %g: %.9g, expected %.9g", z, (double)y[i], expected);
        }
    }
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
}

/* ------------------------------------------------------------------------------------------ refusals */

static void what_is_refused(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    kernel->release(NULL);
    kernel->release_matrix(NULL);
    const adamoe_placement placement = adamoe_one_node(1);
    const adamoe_layer empty = {.hidden_size = 4, .intermediate_size = 4, .experts = 0};
    adamoe_prepared *prepared = NULL;
    assert_error(kernel->prepare(&adamoe_heap_host, &empty, &placement, &prepared), ADAMOE_BAD_INPUT,
                 "a layer without experts");
    assert_null(prepared);

    problem *p = make_problem(8, 8, 2, 1, 5);
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(kernel->prepare(&adamoe_heap_host, &p->layer, &placement, &prepared));
    const size_t bytes = kernel->work_bytes(prepared, p->plan->rows, p->plan->tokens);
    adamoe_run run = {
        .team = team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes - 1};
    assert_non_null(run.work);
    assert_error(kernel->experts(prepared, &run, p->x, p->plan, p->y), ADAMOE_BAD_INPUT,
                 "workspace too small");
    char text[128];
    kernel->implementation(prepared, text, sizeof text);
    assert_int_equal(strncmp(text, "oneDNN ", 7), 0);
    assert_null(strchr(text + 7, ' ')); /* nothing is compiled yet */
    run.work_bytes = bytes;
    assert_ok(kernel->experts(prepared, &run, p->x, p->plan, p->y));
    kernel->implementation(prepared, text, sizeof text);
    assert_non_null(strchr(text + 7, ' '));
    adamoe_heap_host.release(NULL, run.work);
    kernel->release(prepared);
    adamoe_team_free(team);
    free_problem(p);
}

#define TEST_OF(test, kernel, short_name)                                                                    \
    {                                                                                                        \
#test " of " short_name, test, NULL, NULL, (void *)(uintptr_t)(kernel)                               \
    }
#define TESTS_OF(kernel, short_name)                                                                         \
    TEST_OF(golden_layers, kernel, short_name), TEST_OF(authors_layers, kernel, short_name),                 \
        TEST_OF(layers_of_the_open_rules, kernel, short_name),                                               \
        TEST_OF(more_rows_than_a_block, kernel, short_name),                                                 \
        TEST_OF(more_columns_than_a_block, kernel, short_name),                                              \
        TEST_OF(any_number_of_rows, kernel, short_name), TEST_OF(no_tokens, kernel, short_name),             \
        TEST_OF(any_number_of_threads_gives_the_same_bits, kernel, short_name),                              \
        TEST_OF(equal_rows_give_equal_bits, kernel, short_name),                                             \
        TEST_OF(silu_of_large_arguments, kernel, short_name), TEST_OF(what_is_refused, kernel, short_name)

/* An argument picks tests by a pattern of their names, "*onednn-bf16": on an emulated processor each takes
 * long. */
int main(int count, char **arguments)
{
    if (count > 1) {
        cmocka_set_test_filter(arguments[1]);
    }
    /* Where the processor has a bfloat16 product this would turn float32 into it; the
     * kernel must not care. */
    setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16", 1);
    const struct CMUnitTest tests[] = {TESTS_OF(&adamoe_onednn_f32_kernel, "onednn-f32"),
                                       TESTS_OF(&adamoe_onednn_bf16_kernel, "onednn-bf16")};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

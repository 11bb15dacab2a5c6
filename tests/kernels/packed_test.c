/*
 * The packed kernels of every instruction set: all numbers of rows about a tile, tails of every dimension, a
 * depth beyond one block, the same bits for any threads, batch-mates and placement, and silu over the whole
 * range of floats. What this processor cannot run is skipped, visibly.
 */
#include "test.h"
#include "router.h"
#include "plan.h"
#include "bound/judge.h"
#include "numbers.h"
#include "bound/bound.h"
#include "machine/host.h"
#include "packed_kernels.h"
#include "packed/tile.h"
#include "machine/placement.h"
#include "layers/random_layer.h"
#include "machine/team.h"

#define SKIP_UNLESS_SUPPORTED(kernel)                                                                        \
    do {                                                                                                     \
        const char *why_not = NULL;                                                                          \
        if (!(kernel)->supported(&why_not)) {                                                                \
            print_message("skipped: %s: %s\n", (kernel)->name, why_not);                                     \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

/* A layer, tokens and a plan of random routing; logits of one expert can be raised so that it takes all. */
typedef struct problem {
    adamoe_random_layer layer;
    float *x; /* [tokens, hidden_size] */
    adamoe_plan *plan;
} problem;

static problem make_problem(adamoe_layer_sizes sizes, size_t tokens, size_t top_k, float first_expert)
{
    problem p;
    adamoe_splitmix64 random = adamoe_random_for("packed", tokens * 31 + sizes.hidden_size);
    assert_ok(adamoe_random_layer_create(sizes, ADAMOE_F32, 0, &random, &p.layer));
    p.x = calloc(tokens * sizes.hidden_size + 1, sizeof *p.x);
    float *logits = calloc(tokens * sizes.experts + 1, sizeof *logits);
    assert_true(p.x != NULL && logits != NULL);
    adamoe_random_states(&random, tokens * sizes.hidden_size, p.x);
    adamoe_random_states(&random, tokens * sizes.experts, logits);
    for (size_t t = 0; t < tokens; ++t) {
        logits[t * sizes.experts] += first_expert;
    }
    adamoe_routing *routing = NULL;
    const adamoe_rule rule = {top_k, ADAMOE_NORM_TRUE, ADAMOE_NULL_ZERO};
    assert_ok(adamoe_routing_create(logits, tokens, sizes.experts, 0, rule, &routing));
    assert_ok(adamoe_plan_create(routing, &p.plan));
    adamoe_routing_free(routing);
    free(logits);
    return p;
}

static void free_problem(problem *p)
{
    adamoe_random_layer_free(&p->layer);
    adamoe_plan_free(p->plan);
    free(p->x);
}

static float *compute(const adamoe_kernel *kernel, const problem *p, const adamoe_placement *placement)
{
    adamoe_team *team = NULL;
    adamoe_prepared *prepared = NULL;
    assert_ok(adamoe_team_create(placement->threads, &team));
    assert_ok(kernel->prepare(&adamoe_heap_host, &p->layer.layer, placement, &prepared));
    const size_t bytes = kernel->work_bytes(prepared, p->plan->rows, p->plan->tokens);
    const size_t count = p->plan->tokens * p->layer.layer.hidden_size;
    float *y = malloc((count + 1) * sizeof *y);
    adamoe_run run = {.team = team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    assert_true(y != NULL && run.work != NULL);
    memset(run.work, 0xff, bytes); /* NaN, should it be read before it is written */
    memset(y, 0xff, count * sizeof *y);
    assert_ok(kernel->experts(prepared, &run, p->x, p->plan, y));
    adamoe_heap_host.release(NULL, run.work);
    kernel->release(prepared);
    adamoe_team_free(team);
    return y;
}

static void assert_within_bound(const adamoe_kernel *kernel, const problem *p, const float *y)
{
    const adamoe_layer *layer = &p->layer.layer;
    adamoe_yardstick yardstick;
    assert_ok(adamoe_yardstick_create(p->plan->tokens * layer->hidden_size, &yardstick));
    assert_ok(adamoe_layer_yardstick(layer, adamoe_kernel_arithmetic(kernel), p->x, p->plan, &yardstick));
    const adamoe_verdict verdict = adamoe_judge(&yardstick, y, 1.0);
    if (!verdict.passed) {
        fail_msg("%s: %zu tokens, %zu x %zu: element %zu: %.9g, expected %.9g: %.3g of what is allowed",
                 kernel->name, p->plan->tokens, layer->hidden_size, layer->intermediate_size, verdict.worst,
                 (double)y[verdict.worst], yardstick.expected[verdict.worst], verdict.largest_ratio);
    }
    assert_false(verdict.vacuous);
    adamoe_yardstick_free(&yardstick);
}

static void check(const adamoe_kernel *kernel, adamoe_layer_sizes sizes, size_t tokens, size_t top_k)
{
    problem p = make_problem(sizes, tokens, top_k, 0.0f);
    const adamoe_placement placement = adamoe_one_node(2);
    float *y = compute(kernel, &p, &placement);
    assert_within_bound(kernel, &p, y);
    free(y);
    free_problem(&p);
}

/* One expert has all tokens: 1 row, ..., more rows than four tiles have. */
static void every_number_of_rows(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    for (size_t tokens = 1; tokens <= 4 * (size_t)kernel->tiles.rows + 2; ++tokens) {
        check(kernel, (adamoe_layer_sizes){19, 21, 1, 0}, tokens, 1);
    }
    /* many: around and beyond the rows for which bfloat16 weights are widened once */
    for (size_t tokens = 12 * (size_t)kernel->tiles.rows; tokens <= 15 * (size_t)kernel->tiles.rows;
         ++tokens) {
        check(kernel, (adamoe_layer_sizes){19, 21, 1, 0}, tokens, 1);
    }
}

static void every_tail_of_columns_and_depth(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    for (size_t size = 1; size <= 2 * (size_t)kernel->tiles.columns + 1; ++size) {
        check(kernel, (adamoe_layer_sizes){size, 9, 2, 0}, 3, 1);
        check(kernel, (adamoe_layer_sizes){9, size, 2, 0}, 3, 1);
    }
}

static void depth_of_several_blocks(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    check(kernel, (adamoe_layer_sizes){2200, 35, 1, 0}, 3, 1);
    check(kernel, (adamoe_layer_sizes){35, 2201, 1, 0}, 18, 1);
}

static void set_weight(const adamoe_matrix *matrix, float value)
{
    memcpy((void *)(uintptr_t)matrix->data, &value, sizeof value);
}

/* One weight of 1 in each matrix and an infinite x: h and y are infinite. Beside an output that exists stand
 * others of the vector, which are 0 times infinity. */
static void infinity_stays_alone(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    if (kernel->x == ADAMOE_INT8) {
        return; /* has no scale for it */
    }
    problem p = make_problem((adamoe_layer_sizes){1, 1, 1, 0}, 1, 1, 0.0f);
    const adamoe_placement placement = adamoe_one_node(1);
    const adamoe_expert *expert = &p.layer.layer.expert[0];
    set_weight(&expert->w1, 1.0f);
    set_weight(&expert->w3, 1.0f);
    set_weight(&expert->w2, 1.0f);
    p.x[0] = HUGE_VALF;
    float *y = compute(kernel, &p, &placement);
    /* 1 in three parts has zeros, which make NaN of it */
    assert_true(strcmp(kernel->name, "amx-split-f32") == 0 ? isnan(y[0]) : isinf(y[0]) && y[0] > 0.0f);
    free(y);
    free_problem(&p);
}

/* The problem's y is the same for 1, 2, 3 and 7 threads, and for every policy on 2 and 4 nodes. */
static void same_bits_for_threads_and_placements(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    static const uint32_t node[8] = {0, 1, 2, 3, 0, 1, 2, 3}, half[8] = {0, 0, 0, 0, 1, 1, 1, 1};
    problem p = make_problem((adamoe_layer_sizes){70, 90, 5, 0}, 40, 2, 1.0f);
    const adamoe_placement one = adamoe_one_node(1);
    const size_t bytes = p.plan->tokens * p.layer.layer.hidden_size * sizeof(float);
    float *expected = compute(kernel, &p, &one);
    assert_within_bound(kernel, &p, expected);
    for (uint32_t threads = 2; threads <= 7; ++threads) {
        for (uint32_t policy = ADAMOE_NUMA_LOCAL; policy <= ADAMOE_NUMA_SPLIT; ++policy) {
            const adamoe_placement two = {(adamoe_numa_policy)policy, 2, threads, half + 8 - threads};
            const adamoe_placement four = {(adamoe_numa_policy)policy, 4, threads, node};
            float *y = compute(kernel, &p, &two), *z = compute(kernel, &p, &four);
            assert_memory_equal(expected, y, bytes);
            assert_memory_equal(expected, z, bytes);
            free(y);
            free(z);
        }
    }
    free(expected);
    free_problem(&p);
}

/* Tokens 0 .. tokens-1 of the problem as a problem of their own; the layer stays the other's. */
static problem first_tokens(const problem *p, size_t tokens)
{
    const size_t experts = p->plan->experts;
    problem part = {.layer = p->layer, .x = p->x};
    uint32_t *offset = calloc(experts + 1, sizeof *offset), *input = calloc(p->plan->rows, sizeof *input);
    uint32_t *token_offset = calloc(tokens + 1, sizeof *token_offset);
    uint32_t *token_row = calloc(p->plan->rows, sizeof *token_row);
    adamoe_plan *plan = calloc(1, sizeof *plan);
    assert_true(offset && input && token_offset && token_row && plan);
    memcpy(token_offset, p->plan->token_offset, (tokens + 1) * sizeof *token_offset);
    for (size_t e = 0; e < experts; ++e) {
        offset[e + 1] = offset[e];
        for (size_t r = p->plan->offset[e]; r < p->plan->offset[e + 1]; ++r) {
            if (p->plan->input[r] < tokens) {
                for (size_t i = 0; i < token_offset[tokens]; ++i) {
                    token_row[i] = p->plan->token_row[i] == r ? offset[e + 1] : token_row[i];
                }
                input[offset[e + 1]++] = p->plan->input[r];
            }
        }
    }
    *plan = *p->plan;
    plan->tokens = plan->inputs = tokens;
    plan->rows = offset[experts];
    plan->offset = offset;
    plan->input = input;
    plan->token_offset = token_offset;
    plan->token_row = token_row;
    part.plan = plan;
    return part;
}

/* A token's bits are the same alone, in a few and in all, so in tiles of every height. */
static void same_bits_for_any_batch(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    const size_t rows = kernel->tiles.rows;
    problem p = make_problem((adamoe_layer_sizes){37, 41, 2, 0}, 6 * rows, 1, 2.0f);
    const adamoe_placement placement = adamoe_one_node(2);
    float *expected = compute(kernel, &p, &placement);
    for (size_t tokens = 1; tokens < 6 * rows; tokens += tokens < 2 * rows ? 1 : rows / 2) {
        problem part = first_tokens(&p, tokens);
        float *y = compute(kernel, &part, &placement);
        assert_memory_equal(expected, y, tokens * p.layer.layer.hidden_size * sizeof *y);
        free(y);
        free((void *)(uintptr_t)part.plan->offset);
        free((void *)(uintptr_t)part.plan->input);
        free((void *)(uintptr_t)part.plan->token_offset);
        free((void *)(uintptr_t)part.plan->token_row);
        free(part.plan);
    }
    free(expected);
    free_problem(&p);
}

static void dense_product(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(3, &team));
    const adamoe_placement placement = adamoe_one_node(3);
    for (size_t count = 0; count <= 40; count += 5) {
        adamoe_splitmix64 random = adamoe_random_for("dense", count);
        float weights[71 * 37], x[40 * 37 + 1], y[40 * 71 + 1];
        adamoe_random_values(&random, ADAMOE_F32, 0.3, 36 * 37, weights);
        memcpy(weights + 36 * 37, weights, 35 * 37 * sizeof *weights); /* rows 36 .. 70 are rows 0 .. 34 */
        adamoe_random_states(&random, count * 37, x);
        const adamoe_matrix matrix = {weights, ADAMOE_F32, 71, 37};
        adamoe_prepared_matrix *prepared = NULL;
        assert_ok(kernel->prepare_matrix(&adamoe_heap_host, &matrix, &placement, &prepared));
        const size_t bytes = kernel->matrix_work_bytes(prepared, count);
        adamoe_run run = {
            .team = team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
        assert_non_null(run.work);
        memset(y, 0xff, sizeof y);
        assert_ok(kernel->multiply(prepared, &run, x, count, y));
        adamoe_yardstick yardstick;
        assert_ok(adamoe_yardstick_create(count * 71, &yardstick));
        assert_ok(adamoe_matrix_yardstick(&matrix, adamoe_kernel_arithmetic(kernel), x, count, &yardstick));
        assert_true(adamoe_judge(&yardstick, y, 1.0).passed);
        for (size_t i = 0; i < count; ++i) {
            assert_memory_equal(y + i * 71, y + i * 71 + 36, 35 * sizeof *y);
        }
        run.work_bytes = bytes == 0 ? 0 : bytes - 1;
        assert_error(kernel->multiply(prepared, &run, x, count, y), ADAMOE_BAD_INPUT, "workspace too small");
        adamoe_yardstick_free(&yardstick);
        adamoe_heap_host.release(NULL, run.work);
        kernel->release_matrix(prepared);
    }
    adamoe_team_free(team);
}

/* Inputs and weights of the largest magnitude with every pair of signs, so that what an instruction adds up
 * in 16 bits is as large as it can be: a saturated sum would be wrong by far. Row t and output o are -1 where
 * bit c % 4 of the number is set: all are quantised to 127 or -127, and the sum is a whole multiple of 127 *
 * 127. */
static void extremes_do_not_saturate(void **state)
{
    enum { SIGNS = 16, OUTPUTS = 48, DEPTH = 4 * 301 };
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    static float signs[OUTPUTS * DEPTH], y[SIGNS * OUTPUTS];
    for (size_t r = 0; r < OUTPUTS; ++r) {
        for (size_t c = 0; c < DEPTH; ++c) {
            signs[r * DEPTH + c] = (r >> c % 4 & 1) != 0 ? -1.0f : 1.0f;
        }
    }
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(1, &team));
    const adamoe_placement placement = adamoe_one_node(1);
    const adamoe_matrix matrix = {signs, ADAMOE_F32, OUTPUTS, DEPTH};
    adamoe_prepared_matrix *prepared = NULL;
    assert_ok(kernel->prepare_matrix(&adamoe_heap_host, &matrix, &placement, &prepared));
    const float step = kernel->weight == ADAMOE_INT8 ? 1.0f / 127.0f : 1.0f;
    const float largest = kernel->weight == ADAMOE_INT8 ? 127.0f : 1.0f;
    for (size_t count = 1; count <= SIGNS; ++count) { /* tiles of every number of rows */
        const size_t bytes = kernel->matrix_work_bytes(prepared, count);
        adamoe_run run = {
            .team = team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
        assert_non_null(run.work);
        assert_ok(kernel->multiply(prepared, &run, signs, count, y));
        for (size_t i = 0; i < count * OUTPUTS; ++i) {
            const int differ = __builtin_popcount((unsigned)((i / OUTPUTS ^ i % OUTPUTS) % SIGNS));
            const float sum = largest * largest * (float)(DEPTH / 4 * (4 - 2 * differ));
            assert_float_equal(y[i], sum * step * step, 0.0f);
        }
        adamoe_heap_host.release(NULL, run.work);
    }
    kernel->release_matrix(prepared);
    adamoe_team_free(team);
}

/* Floats all over the range: every 4099th bit pattern. The largest relative error must be what
 * the kernel declares, and not far below it; below -87.3, where silu(z) can be subnormal, one of
 * its steps is allowed. */
static void silu_is_as_exact_as_declared(void **state)
{
    const adamoe_kernel *kernel = *state;
    SKIP_UNLESS_SUPPORTED(kernel);
    const packed_products *products =
        strstr(kernel->name, "avx512") != NULL ? &adamoe_products_f32_avx512 : &adamoe_products_f32_avx2;
    double worst = 0.0;
    float worst_at = 0.0f;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 4099) {
        const uint32_t pattern = (uint32_t)bits;
        float sums[32] = {0}, h = NAN;
        memcpy(&sums[0], &pattern, sizeof pattern);
        sums[products->lanes] = 1.0f;
        products->gate(sums, 32, 1, 1, &h, 1);
        const double z = (double)sums[0], expected = z < -700.0 ? -0.0 : z / (1.0 + exp(-z));
        if (isnan(z)) {
            assert_true(isnan(h));
        } else if (!isfinite(z)) {
            assert_true(z > 0.0 ? h > 0.0f && isinf(h) : h == 0.0f || isnan(h));
        } else if (z < -87.3 || fabs(expected) < 0x1p-125) {
            assert_true(fabs((double)h - expected) <= fmax(1.0, -z) * 0x1p-149);
        } else {
            const double error = fabs((double)h - expected) / fabs(expected) * 0x1p24;
            worst_at = error > worst ? sums[0] : worst_at;
            worst = fmax(worst, error);
        }
    }
    print_message("%s: largest error of silu: %.3f units at %a\n", kernel->name, worst, (double)worst_at);
    assert_true(worst <= (double)kernel->silu_error);
    assert_true(worst >= (double)kernel->silu_error / 2.0);
}

static const adamoe_kernel *find_kernel(const char *name)
{
    for (size_t k = 0; k < adamoe_packed_kernel_count; ++k) {
        if (strcmp(adamoe_packed_kernels[k]->name, name) == 0) {
            return adamoe_packed_kernels[k];
        }
    }
    fail_msg("there is no kernel %s", name);
    return NULL;
}

/* Sums of integers are the same in any order, and what is done to them is the same too. */
static void int8_of_tiles_has_the_bits_of_vectors(void **state)
{
    (void)state;
    const adamoe_kernel *tiles = find_kernel("amx-int8"), *vectors = find_kernel("avx512-int8");
    SKIP_UNLESS_SUPPORTED(tiles);
    SKIP_UNLESS_SUPPORTED(vectors);
    const adamoe_placement placement = adamoe_one_node(2);
    static const adamoe_layer_sizes sizes[] = {
        {128, 64, 3, 0}, {1, 1, 1, 0}, {201, 67, 4, 0}, {65, 2051, 2, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        for (size_t tokens = 1; tokens < 200; tokens += 1 + tokens / 2) {
            problem p = make_problem(sizes[i], tokens, 1, 1.0f);
            float *y = compute(tiles, &p, &placement), *z = compute(vectors, &p, &placement);
            assert_memory_equal(y, z, tokens * sizes[i].hidden_size * sizeof *y);
            free(y);
            free(z);
            free_problem(&p);
        }
    }
}

/* y [count, rows of the matrix] by one thread. */
static void multiply(const adamoe_kernel *kernel, const adamoe_matrix *matrix, const float *x, size_t count,
                     float *y)
{
    adamoe_team *team = NULL;
    adamoe_prepared_matrix *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(1);
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(kernel->prepare_matrix(&adamoe_heap_host, matrix, &placement, &prepared));
    const size_t bytes = kernel->matrix_work_bytes(prepared, count);
    adamoe_run run = {.team = team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    assert_non_null(run.work);
    assert_ok(kernel->multiply(prepared, &run, x, count, y));
    adamoe_heap_host.release(NULL, run.work);
    kernel->release_matrix(prepared);
    adamoe_team_free(team);
}

/* The root mean square error of a product with a matrix that the kernel does not round. */
static double error_of(const adamoe_kernel *kernel, const adamoe_matrix *matrix, const float *x, size_t count)
{
    float *y = malloc(count * matrix->rows * sizeof *y);
    assert_non_null(y);
    multiply(kernel, matrix, x, count, y);
    const float *w = matrix->data;
    double squares = 0.0;
    for (size_t i = 0; i < count * matrix->rows; ++i) {
        const float *row = w + i % matrix->rows * matrix->columns,
                    *in = x + i / matrix->rows * matrix->columns;
        double exact = 0.0;
        for (size_t c = 0; c < matrix->columns; ++c) {
            exact += (double)row[c] * (double)in[c];
        }
        squares += ((double)y[i] - exact) * ((double)y[i] - exact);
    }
    free(y);
    return sqrt(squares / (double)(count * matrix->rows));
}

/* Each with the kernel of fused multiply-adds that rounds the same operands. */
static const struct {
    const char *split, *fused;
} kernels_of_parts[] = {{"amx-split", "avx512-bf16"}, {"amx-split-f32", "avx512-f32"}};

#define KERNELS_OF_PARTS (sizeof kernels_of_parts / sizeof *kernels_of_parts)

/* Three products of parts, and six, round less often than one fused multiply-add for each term does. */
static void parts_are_more_exact_than_fused_products(void **state)
{
    enum { ROWS = 48, COUNT = 20, MOST_DEPTH = 4096 };
    (void)state;
    static float w[ROWS * MOST_DEPTH], x[COUNT * MOST_DEPTH];
    for (size_t k = 0; k < KERNELS_OF_PARTS; ++k) {
        const adamoe_kernel *split = find_kernel(kernels_of_parts[k].split),
                            *fused = find_kernel(kernels_of_parts[k].fused);
        SKIP_UNLESS_SUPPORTED(split);
        SKIP_UNLESS_SUPPORTED(fused);
        for (size_t depth = 256; depth <= MOST_DEPTH; depth *= 4) {
            adamoe_splitmix64 random = adamoe_random_for("parts", depth);
            adamoe_random_states(&random, ROWS * depth, w); /* of a normal distribution */
            adamoe_random_states(&random, COUNT * depth, x);
            for (size_t i = 0; i < ROWS * depth && split->weight == ADAMOE_BFLOAT16; ++i) {
                w[i] = adamoe_bf16_to_float(adamoe_float_to_bf16(w[i]));
            }
            const adamoe_matrix matrix = {w, ADAMOE_F32, ROWS, depth};
            const double parts = error_of(split, &matrix, x, COUNT), fma = error_of(fused, &matrix, x, COUNT);
            print_message("%s, %zu terms: %.2f of the rms error of %s\n", split->name, depth, parts / fma,
                          fused->name);
            assert_true(parts > 0.0 && parts < fma);
        }
    }
}

/* Rows of inputs and of weights from the smallest floats to the largest, in all pairs whose products are floats: what
 * one power of two would take out of the range before the other brings it back is computed as anything else. */
static void parts_have_the_range_of_floats(void **state)
{
    enum { ROWS = 5, COUNT = 3, DEPTH = 45, FIRST = -144, LAST = 127, STEP = 15 };
    (void)state;
    for (size_t k = 0; k < KERNELS_OF_PARTS; ++k) {
        const adamoe_kernel *split = find_kernel(kernels_of_parts[k].split);
        SKIP_UNLESS_SUPPORTED(split);
        adamoe_splitmix64 random = adamoe_random_for("range", k);
        for (int of_x = FIRST; of_x <= LAST; of_x += STEP) {
            for (int of_w = FIRST; of_w <= LAST; of_w += STEP) {
                float w[ROWS * DEPTH], x[COUNT * DEPTH], y[COUNT * ROWS];
                if (of_x + of_w < -140 || of_x + of_w > 118) {
                    continue; /* zeros, or infinities: nothing to judge */
                }
                for (size_t i = 0; i < ROWS * DEPTH; ++i) {
                    w[i] = ldexpf(adamoe_splitmix64_uniform(&random), of_w + 1);
                }
                for (size_t i = 0; i < COUNT * DEPTH; ++i) {
                    x[i] = ldexpf(adamoe_splitmix64_uniform(&random), of_x + 1);
                }
                const adamoe_matrix matrix = {w, ADAMOE_F32, ROWS, DEPTH};
                multiply(split, &matrix, x, COUNT, y);
                adamoe_yardstick yardstick;
                assert_ok(adamoe_yardstick_create(COUNT * ROWS, &yardstick));
                assert_ok(
                    adamoe_matrix_yardstick(&matrix, adamoe_kernel_arithmetic(split), x, COUNT, &yardstick));
                const adamoe_verdict verdict = adamoe_judge(&yardstick, y, 1.0);
                /* Nothing overflows here, so that all is judged; but of weights below 2^-126 bfloat16 may keep none. */
                if (!verdict.passed || (verdict.vacuous && of_w >= -126)) {
                    fail_msg("%s: x of 2^%d, weights of 2^%d: element %zu: %a, expected %a: %.3g of what is "
                             "allowed",
                             split->name, of_x, of_w, verdict.worst, (double)y[verdict.worst],
                             yardstick.expected[verdict.worst], verdict.largest_ratio);
                }
                adamoe_yardstick_free(&yardstick);
            }
        }
    }
}

/* Beside a largest number that meets a weight of 0: what is 2^-178 of it and more has its product, whatever the size of
 * that; of what is smaller less than that is lost. */
static void parts_lose_what_they_say(void **state)
{
    (void)state;
    for (size_t k = 0; k < KERNELS_OF_PARTS; ++k) {
        const adamoe_kernel *split = find_kernel(kernels_of_parts[k].split);
        SKIP_UNLESS_SUPPORTED(split);
        for (int below = 1; below < 127 + 149; ++below) {
            const float x[2] = {0x1p127f, ldexpf(1.0f, 127 - below)}, w[2] = {0.0f, 1.0f};
            const adamoe_matrix matrix = {w, ADAMOE_F32, 1, 2};
            float y = NAN;
            multiply(split, &matrix, x, 1, &y);
            assert_true(below <= 178 ? y == x[1] : fabsf(y - x[1]) <= 0x1p-51f); /* 2^(127 - 178) */
            multiply(split, &(adamoe_matrix){x, ADAMOE_F32, 1, 2}, w, 1, &y);
            assert_true(below <= 178 ? y == x[1] : fabsf(y - x[1]) <= 0x1p-51f);
        }
    }
}

static const struct {
    const char *name;
    CMUnitTestFunction test;
    bool of_vectors; /* which the kernels of an instruction set share: once for each */
} tests_of_each[] = {
    {"every_number_of_rows", every_number_of_rows, false},
    {"every_tail", every_tail_of_columns_and_depth, false},
    {"infinity", infinity_stays_alone, false},
    {"depth_of_several_blocks", depth_of_several_blocks, false},
    {"same_bits_for_threads_and_placements", same_bits_for_threads_and_placements, false},
    {"same_bits_for_any_batch", same_bits_for_any_batch, false},
    {"dense_product", dense_product, false},
    {"extremes", extremes_do_not_saturate, false},
    {"silu", silu_is_as_exact_as_declared, true},
};

#define TESTS_OF_EACH (sizeof tests_of_each / sizeof *tests_of_each)

/* With an argument, only the tests whose names match it, "every_tail avx2-f32": a processor that is emulated takes
 * long. */
int main(int count, char **arguments)
{
    enum { MOST_TESTS = 500, NAME_BYTES = 96 };
    static char names[MOST_TESTS][NAME_BYTES];
    static struct CMUnitTest tests[MOST_TESTS];
    size_t made = 0;
    for (size_t k = 0; k < adamoe_packed_kernel_count; ++k) {
        const adamoe_kernel *kernel = adamoe_packed_kernels[k];
        for (size_t t = 0; t < TESTS_OF_EACH && made < MOST_TESTS; ++t) {
            const bool brings_vectors =
                kernel->weight == ADAMOE_FLOAT32 && strncmp(kernel->name, "avx", 3) == 0;
            if (!tests_of_each[t].of_vectors || brings_vectors) {
                (void)snprintf(names[made], NAME_BYTES, "%s %s", tests_of_each[t].name, kernel->name);
                tests[made] = (struct CMUnitTest){names[made], tests_of_each[t].test, NULL, NULL,
                                                  (void *)(uintptr_t)kernel};
                ++made;
            }
        }
    }
    tests[made++] = (struct CMUnitTest)cmocka_unit_test(int8_of_tiles_has_the_bits_of_vectors);
    tests[made++] = (struct CMUnitTest)cmocka_unit_test(parts_are_more_exact_than_fused_products);
    tests[made++] = (struct CMUnitTest)cmocka_unit_test(parts_have_the_range_of_floats);
    tests[made++] = (struct CMUnitTest)cmocka_unit_test(parts_lose_what_they_say);
    cmocka_set_test_filter(count > 1 ? arguments[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL); /* it passes over those without a name */
}

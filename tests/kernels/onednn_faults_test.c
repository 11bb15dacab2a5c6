/*
 * The oneDNN kernels on a oneDNN that is wrong: this program puts itself between the kernels and
 * dnnl_primitive_execute, and repeats there, whatever the library and the processor, the faults that 3.7 has on
 * AVX-512 and AMX. Each fault must be found by the probes, and must not reach a result. Each test is a process
 * of its own, because the probes run once in each. Left out: bfloat16, whose products need AVX-512.
 *
 * On a library that has such a fault itself, the test of a library that is right is skipped, visibly.
 */
#include "test.h"
#include "bound/judge.h"
#include "bound/bound.h"
#include "machine/host.h"
#include "machine/team.h"
#include "numbers.h"
#include "onednn/faults.h"
#include "onednn/kernel.h"

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>

/* ------------------------------------------------------------------------------------- the wrong library */

static bool one_column_is_wrong, rows_leak, all_is_wrong;

/* A matrix of a call: what oneDNN was told of it, and its memory. */
typedef struct matrix_view {
    dnnl_dim_t rows, columns, stride;
    void *data;
} matrix_view;

static matrix_view view_of(const dnnl_exec_arg_t *arguments, int count, int which)
{
    matrix_view v = {0};
    for (int i = 0; i < count; ++i) {
        if (arguments[i].arg == which) {
            assert_int_equal(dnnl_memory_get_data_handle(arguments[i].memory, &v.data), dnnl_success);
#if DNNL_VERSION_MAJOR < 3
            const dnnl_memory_desc_t *d = NULL;
            assert_int_equal(dnnl_memory_get_memory_desc(arguments[i].memory, &d), dnnl_success);
            v.rows = d->dims[0];
            v.columns = d->dims[1];
            v.stride = d->format_desc.blocking.strides[0];
#else
            const_dnnl_memory_desc_t d = NULL;
            dnnl_dims_t *sizes = NULL, *strides = NULL;
            assert_int_equal(dnnl_memory_get_memory_desc(arguments[i].memory, &d), dnnl_success);
            assert_int_equal(dnnl_memory_desc_query(d, dnnl_query_dims, &sizes), dnnl_success);
            assert_int_equal(dnnl_memory_desc_query(d, dnnl_query_strides, &strides), dnnl_success);
            v.rows = (*sizes)[0];
            v.columns = (*sizes)[1];
            v.stride = (*strides)[0];
#endif
        }
    }
    return v;
}

/* Writes a column without its gaps, over what stands there. */
static void lose_the_stride(const matrix_view *y)
{
    float *data = y->data;
    for (dnnl_dim_t i = 1; i < y->rows; ++i) {
        data[i] = data[i * y->stride];
        if (y->stride > 1) {
            data[i * y->stride] = 0.0f;
        }
    }
}

/* What lies behind a row, up to a multiple of 32 elements, is multiplied by zeros: the next row's NaN. */
static void leak(const matrix_view *x, matrix_view *y)
{
    const float *in = x->data;
    float *out = y->data;
    const dnnl_dim_t read = (x->columns + ONEDNN_DEPTH_STEP - 1) / ONEDNN_DEPTH_STEP * ONEDNN_DEPTH_STEP;
    for (dnnl_dim_t i = 0; i + 1 < x->rows; ++i) {
        for (dnnl_dim_t c = x->columns; c < read && i * x->stride + c < x->rows * x->stride; ++c) {
            for (dnnl_dim_t r = 0; r < y->columns; ++r) {
                out[i * y->stride + r] += 0.0f * in[i * x->stride + c];
            }
        }
    }
}

typedef dnnl_status_t (*execute_function)(const_dnnl_primitive_t, dnnl_stream_t, int,
                                          const dnnl_exec_arg_t *);

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int count,
                                     const dnnl_exec_arg_t *arguments)
{
    execute_function real = NULL;
    void *const found = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
    assert_non_null(found);
    memcpy(&real, &found, sizeof real);
    const dnnl_status_t status = real(primitive, stream, count, arguments);
    matrix_view x = view_of(arguments, count, DNNL_ARG_SRC), y = view_of(arguments, count, DNNL_ARG_DST);
    if (status != dnnl_success || view_of(arguments, count, DNNL_ARG_WEIGHTS).data == NULL) {
        return status; /* weights are packed, which is no product */
    }
    assert_int_equal(dnnl_stream_wait(stream), dnnl_success);
    if (one_column_is_wrong && y.columns == 1) {
        lose_the_stride(&y);
    }
    if (rows_leak && x.columns % ONEDNN_DEPTH_STEP != 0) {
        leak(&x, &y);
    }
    if (all_is_wrong) {
        *(float *)y.data += 1.0f;
    }
    return status;
}

/* ------------------------------------------------------------------------------------------ the dense product */

static uint64_t random_state;

static float next_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(random_state >> 40) * 0x1p-23 - 1.0);
}

enum { GUARD = 1024 };
static const float guard = -12345.0f;

/* y = x · Wᵀ by the kernel, with NaN in every third row of x where `poisoned`, judged against the bound. */
static void check_product(const adamoe_kernel *kernel, size_t rows, size_t columns, size_t count,
                          bool poisoned)
{
    float *w = calloc(rows * columns, sizeof *w), *x = calloc(count * columns, sizeof *x);
    float *y = calloc(count * rows + GUARD, sizeof *y);
    assert_true(w != NULL && x != NULL && y != NULL);
    for (size_t i = 0; i < rows * columns; ++i) {
        w[i] = next_float();
    }
    for (size_t i = 0; i < count * columns; ++i) {
        x[i] = next_float();
    }
    for (size_t i = 0; i < count * rows + GUARD; ++i) {
        y[i] = guard;
    }
    const adamoe_matrix matrix = {w, ADAMOE_F32, rows, columns};
    adamoe_yardstick yardstick;
    assert_ok(adamoe_yardstick_create(count * rows, &yardstick));
    assert_ok(adamoe_matrix_yardstick(&matrix, adamoe_kernel_arithmetic(kernel), x, count, &yardstick));
    for (size_t i = 0; i < count * columns; ++i) {
        x[i] = poisoned && i / columns % 3 == 1 ? NAN : x[i];
    }
    adamoe_team *team = NULL;
    adamoe_prepared_matrix *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(2);
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(kernel->prepare_matrix(&adamoe_heap_host, &matrix, &placement, &prepared));
    const size_t bytes = kernel->matrix_work_bytes(prepared, count);
    const adamoe_run run = {
        .team = team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    assert_ok(kernel->multiply(prepared, &run, x, count, y));
    for (size_t t = 0; t < count; ++t) {
        for (size_t r = 0; r < rows && poisoned && t % 3 == 1; ++r) {
            assert_true(isnan(y[t * rows + r]));
            y[t * rows + r] = (float)yardstick.expected[t * rows + r]; /* judged already */
        }
    }
    const adamoe_verdict verdict = adamoe_judge(&yardstick, y, 1.0);
    if (!verdict.passed) {
        fail_msg("[%zu, %zu], %zu rows: element %zu: %.9g, expected %.9g", rows, columns, count,
                 verdict.worst, (double)y[verdict.worst], yardstick.expected[verdict.worst]);
    }
    for (size_t i = 0; i < GUARD; ++i) {
        assert_true(y[count * rows + i] == guard);
    }
    adamoe_heap_host.release(NULL, run.work);
    kernel->release_matrix(prepared);
    adamoe_team_free(team);
    adamoe_yardstick_free(&yardstick);
    free(w);
    free(x);
    free(y);
}

/* Sizes around the blocks, and depths that are multiples of 32 and are not. */
static void check_products(bool poisoned)
{
    static const size_t shape[][3] = {{1, 5, 10},   {2, 33, 10},   {768, 5, 3},  {769, 5, 70}, {770, 7, 3},
                                      {1537, 3, 9}, {40, 33, 513}, {40, 64, 70}, {769, 65, 66}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; ++i) {
        check_product(&adamoe_onednn_f32_kernel, shape[i][0], shape[i][1], shape[i][2], poisoned);
    }
}

/* -------------------------------------------------------------------------------------------------- tests */

static bool finds(adamoe_arithmetic type, onednn_fault fault)
{
    return onednn_find_faults(type)->fault[fault];
}

/* Faults of the library itself come on top of those that this program makes. */
static void faults_are_found_and_avoided(void **state)
{
    (void)state;
    one_column_is_wrong = rows_leak = true;
    assert_true(onednn_find_faults(ADAMOE_FLOAT32)->available);
    assert_true(finds(ADAMOE_FLOAT32, ONEDNN_ONE_COLUMN));
    assert_true(finds(ADAMOE_FLOAT32, ONEDNN_ROW_LEAK));
    assert_false(finds(ADAMOE_FLOAT32, ONEDNN_WRONG));
    assert_int_equal(onednn_depth(ADAMOE_FLOAT32, 33), 64);
    assert_int_equal(onednn_depth(ADAMOE_FLOAT32, 64), 64);
    check_products(false);
    check_products(true);
}

static void what_cannot_be_avoided_is_refused(void **state)
{
    (void)state;
    all_is_wrong = true;
    const char *why_not = NULL;
    assert_false(adamoe_onednn_f32_kernel.supported(&why_not));
    assert_string_equal(why_not, "oneDNN computes wrong products on this processor");
    assert_true(finds(ADAMOE_FLOAT32, ONEDNN_WRONG));
}

static void a_right_library_is_not_accused(void **state)
{
    (void)state;
    const char *why_not = NULL;
    assert_true(adamoe_onednn_f32_kernel.supported(&why_not));
    assert_false(finds(ADAMOE_FLOAT32, ONEDNN_WRONG));
    for (onednn_fault f = 0; f < ONEDNN_FAULTS; ++f) {
        if (finds(ADAMOE_FLOAT32, f)) {
            print_message("skipped: the library itself is wrong: %s\n", onednn_fault_text(f));
            skip();
        }
    }
    assert_int_equal(onednn_depth(ADAMOE_FLOAT32, 33), 33);
    check_products(false);
    check_products(true);
}

/* The argument names the test: findings are for the whole process, so each has one of its own. */
int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(faults_are_found_and_avoided),
                                       cmocka_unit_test(what_cannot_be_avoided_is_refused),
                                       cmocka_unit_test(a_right_library_is_not_accused)};
    if (count != 2) {
        (void)fprintf(stderr, "usage: onednn_faults_test TEST\n");
        return 2;
    }
    cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Products of float32 matrices: exact on small integers, in every form of operand, for every instruction set,
 * at sizes below, at and above each block; the same bits for any number of threads; within the bound of a
 * float32 sum on random numbers.
 */
#include "test.h"
#include "machine/team.h"
#include "train/gemm.h"
#include "train/gemm_tiles.h"

enum { MOST = 4 };

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Operands with more rows than are used, and lists that pick some of them out of order. */
typedef struct subject {
    adamoe_gemm gemm;
    float *a, *b, *c, *expected;
    uint32_t *list_a, *list_b;
} subject;

static float *random_array(size_t count, int span, float unit, uint64_t *seed)
{
    float *array = calloc(count + 1, sizeof *array);
    assert_non_null(array);
    for (size_t i = 0; i < count; ++i) {
        array[i] = (float)((int)(next_random(seed) % (uint64_t)(2 * span + 1)) - span) * unit;
    }
    return array;
}

static uint32_t *random_list(size_t count, size_t below, uint64_t *seed)
{
    uint32_t *list = calloc(count + 1, sizeof *list);
    assert_non_null(list);
    for (size_t i = 0; i < count; ++i) {
        list[i] = (uint32_t)(next_random(seed) % below);
    }
    return list;
}

/* `form` has a bit each for: a transposed, b transposed, lists, add. */
static void make_subject(size_t rows, size_t columns, size_t depth, unsigned form, int span, float unit,
                         uint64_t *seed, subject *s)
{
    const bool ta = (form & 1u) != 0, tb = (form & 2u) != 0, lists = (form & 4u) != 0;
    const size_t rows_a = ta ? depth : rows, width_a = (ta ? rows : depth) + 3;
    const size_t rows_b = tb ? columns : depth, width_b = (tb ? depth : columns) + 1;
    *s = (subject){.a = random_array((rows_a + 2) * width_a, span, unit, seed),
                   .b = random_array((rows_b + 2) * width_b, span, unit, seed),
                   .c = random_array(rows * (columns + 5), span, unit, seed),
                   .list_a = random_list(rows_a, rows_a + 2, seed),
                   .list_b = random_list(rows_b, rows_b + 2, seed)};
    s->expected = calloc(rows * (columns + 5) + 1, sizeof *s->expected);
    assert_non_null(s->expected);
    s->gemm = (adamoe_gemm){rows,
                            columns,
                            depth,
                            {s->a, width_a, lists ? s->list_a : NULL, ta},
                            {s->b, width_b, lists ? s->list_b : NULL, tb},
                            s->c,
                            columns + 5,
                            (form & 8u) != 0};
}

static void free_subject(subject *s)
{
    free(s->a);
    free(s->b);
    free(s->c);
    free(s->expected);
    free(s->list_a);
    free(s->list_b);
}

static double element(const adamoe_gemm_operand *x, size_t row, size_t column)
{
    const size_t i = x->transposed ? column : row, j = x->transposed ? row : column;
    return (double)x->data[(x->list == NULL ? i : x->list[i]) * x->stride + j];
}

/* The sum in double, and the sum of the squares of its terms and partial sums (see the bound below). */
static double naive(const adamoe_gemm *g, size_t i, size_t j, double *squares)
{
    double sum = g->add ? (double)g->c[i * g->stride + j] : 0.0;
    *squares = 0.0;
    for (size_t k = 0; k < g->depth; ++k) {
        const double term = element(&g->a, i, k) * element(&g->b, k, j);
        sum += term;
        *squares += sum * sum + term * term;
    }
    return sum;
}

static void run(const packed_products *tiles, uint32_t threads, const adamoe_gemm *gemm, size_t count)
{
    adamoe_team *team = NULL;
    adamoe_gemm_space *space = NULL;
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(adamoe_gemm_space_create(tiles, team, MOST, &space));
    adamoe_gemm_run(space, gemm, count);
    adamoe_gemm_space_free(space);
    adamoe_team_free(team);
}

/* Products of integers up to 8 and sums of at most 700 of them are float32 numbers, in any order. Beyond the
 * columns of a result nothing is written. */
static void assert_exact(const packed_products *tiles, size_t rows, size_t columns, size_t depth,
                         unsigned form, uint64_t *seed)
{
    subject s;
    double squares;
    make_subject(rows, columns, depth, form, 8, 1.0f, seed, &s);
    memcpy(s.expected, s.c, rows * s.gemm.stride * sizeof *s.c);
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < columns; ++j) {
            s.expected[i * s.gemm.stride + j] = (float)naive(&s.gemm, i, j, &squares);
        }
    }
    run(tiles, 1 + (uint32_t)(form % 3), &s.gemm, 1);
    assert_memory_equal(s.c, s.expected, rows * s.gemm.stride * sizeof *s.c);
    free_subject(&s);
}

static void test_integers_are_exact(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},    {5, 3, 2},     {6, 16, 256},  {7, 17, 257},
                                      {14, 32, 64}, {15, 33, 255}, {97, 65, 300}, {97, 129, 31},
                                      {385, 8, 9},  {13, 261, 7},  {2, 40, 0}};
    uint64_t seed = 1;
    bool runs_here;
    for (size_t t = 0; adamoe_gemm_tiles_at(t, &runs_here) != NULL; ++t) {
        if (!runs_here) {
            continue;
        }
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
            for (unsigned form = 0; form < 16; ++form) {
                assert_exact(adamoe_gemm_tiles_at(t, &runs_here), sizes[i][0], sizes[i][1], sizes[i][2], form,
                             &seed);
            }
        }
    }
}

/* Several products in one call, among them one without rows; 1 to 4 threads cut them differently. */
static void test_threads_give_the_same_bits(void **state)
{
    (void)state;
    static const size_t sizes[MOST][3] = {{300, 70, 520}, {0, 40, 9}, {33, 200, 129}, {9, 9, 1000}};
    subject s[MOST];
    adamoe_gemm gemm[MOST];
    uint64_t seed = 7;
    for (size_t i = 0; i < MOST; ++i) {
        make_subject(sizes[i][0], sizes[i][1], sizes[i][2], (unsigned)i, 1 << 20, 1e-6f, &seed, &s[i]);
        gemm[i] = s[i].gemm;
    }
    run(adamoe_gemm_tiles_best(), 1, gemm, MOST);
    for (size_t i = 0; i < MOST; ++i) {
        memcpy(s[i].expected, s[i].c, gemm[i].rows * gemm[i].stride * sizeof *s[i].c);
    }
    for (uint32_t threads = 2; threads <= 4; ++threads) {
        run(adamoe_gemm_tiles_best(), threads, gemm, MOST);
        for (size_t i = 0; i < MOST; ++i) {
            assert_memory_equal(s[i].c, s[i].expected, gemm[i].rows * gemm[i].stride * sizeof *s[i].c);
        }
    }
    for (size_t i = 0; i < MOST; ++i) {
        free_subject(&s[i]);
    }
}

/* Each of the K additions rounds a partial sum, and portable tiles each term: errors of at most u times what
 * is rounded. By Cauchy-Schwarz their sum is at most u sqrt(2 K * sum of squares); to first order in u. */
static void test_random_numbers_are_within_the_bound(void **state)
{
    (void)state;
    uint64_t seed = 11;
    bool runs_here;
    for (size_t t = 0; adamoe_gemm_tiles_at(t, &runs_here) != NULL; ++t) {
        subject s;
        if (!runs_here) {
            continue;
        }
        make_subject(40, 50, 600, 0, 1 << 20, 1e-6f, &seed, &s);
        run(adamoe_gemm_tiles_at(t, &runs_here), 2, &s.gemm, 1);
        for (size_t i = 0; i < s.gemm.rows; ++i) {
            for (size_t j = 0; j < s.gemm.columns; ++j) {
                double squares;
                const double sum = naive(&s.gemm, i, j, &squares);
                const double bound = ldexp(1.0, -24) * sqrt(2.0 * (double)s.gemm.depth * squares) * 1.001;
                assert_true(fabs((double)s.c[i * s.gemm.stride + j] - sum) <= bound);
            }
        }
        free_subject(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_are_exact),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_random_numbers_are_within_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

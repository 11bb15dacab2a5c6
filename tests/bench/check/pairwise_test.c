/*
 * Pairwise designs: every pair of values meets, no index is out of its range, and the design is much smaller
 * than all combinations.
 */
#include "test.h"
#include "check/cases/pairwise.h"

static bool meets(const size_t *design, size_t rows, size_t factors, size_t f, size_t v, size_t g, size_t w)
{
    for (size_t r = 0; r < rows; ++r) {
        if (design[r * factors + f] == v && design[r * factors + g] == w) {
            return true;
        }
    }
    return false;
}

/* Pairs that never meet. */
static size_t missing_pairs(const size_t *values, size_t factors, const size_t *design, size_t rows)
{
    size_t missing = 0;
    for (size_t f = 0; f < factors; ++f) {
        for (size_t g = f + 1; g < factors; ++g) {
            for (size_t v = 0; v < values[f]; ++v) {
                for (size_t w = 0; w < values[g]; ++w) {
                    missing += !meets(design, rows, factors, f, v, g, w);
                }
            }
        }
    }
    return missing;
}

static void check_design(const size_t *values, size_t factors, size_t at_most)
{
    size_t *design = NULL, rows = 0;
    assert_ok(adamoe_pairwise(values, factors, &design, &rows));
    for (size_t i = 0; i < rows * factors; ++i) {
        assert_true(design[i] < values[i % factors]);
    }
    assert_int_equal(missing_pairs(values, factors, design, rows), 0);
    print_message("%zu factors: %zu rows\n", factors, rows);
    assert_in_range(rows, values[0] * values[1], at_most);
    /* one row less no longer covers everything, or the last row would be there for nothing */
    assert_true(missing_pairs(values, factors, design, rows - 1) > 0);
    free(design);
}

static void all_pairs_meet(void **state)
{
    (void)state;
    check_design((const size_t[]){4, 3}, 2, 12);
    check_design((const size_t[]){3, 3, 3, 3}, 4, 14); /* 81 combinations; 9 rows are possible */
    check_design((const size_t[]){17, 16, 8, 19, 3}, 5, 400);
    check_design((const size_t[]){5, 1, 2}, 3, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pairs_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

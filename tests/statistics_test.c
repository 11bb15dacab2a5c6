/*
 * Order statistics of a few numbers.
 */
#include "test.h"
#include "statistics.h"

static void sorts_ascending(void **state)
{
    (void)state;
    double values[] = {3.0, -1.0, 2.0, -HUGE_VAL, 2.0};
    const double expected[] = {-HUGE_VAL, -1.0, 2.0, 2.0, 3.0};
    adamoe_sort(values, 5);
    assert_memory_equal(values, expected, sizeof expected);
    adamoe_sort(values, 0);
}

static void takes_the_middle(void **state)
{
    (void)state;
    const double values[] = {1.0, 2.0, 4.0, 8.0};
    assert_true(adamoe_median(values, 1) == 1.0);
    assert_true(adamoe_median(values, 2) == 1.5);
    assert_true(adamoe_median(values, 3) == 2.0);
    assert_true(adamoe_median(values, 4) == 3.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_ascending),
        cmocka_unit_test(takes_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

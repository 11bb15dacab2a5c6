/*
 * What `adamoe check` shows around the worst element: made where a case fails, told by the child, read by the parent,
 * and written for programs.
 */
#include "check/surroundings.h"
#include "check/tiers/judge.h"
#include "test.h"

#include <math.h>
#include <string.h>

enum { ROWS = 4, COLUMNS = 7 };

/* Two arrays that differ at [row, column] alone. */
static adamoe_check_result result_of_difference(size_t row, size_t column, float got_there)
{
    float expected[ROWS * COLUMNS], got[ROWS * COLUMNS];
    adamoe_check_result result = {.status = ADAMOE_CHECK_PASSED};
    const adamoe_checking k = {.out = &result};
    for (size_t i = 0; i < ROWS * COLUMNS; ++i) {
        expected[i] = got[i] = (float)i;
    }
    got[row * COLUMNS + column] = got_there;
    assert_false(adamoe_check_same_bits(&k, got, expected, ROWS * COLUMNS, COLUMNS, "a test"));
    assert_int_equal(result.row, row);
    assert_int_equal(result.column, column);
    return result;
}

static void block_ends_where_the_tensor_does(void **state)
{
    (void)state;
    for (size_t at = 0; at < ROWS * COLUMNS; ++at) {
        const size_t row = at / COLUMNS, column = at % COLUMNS;
        const adamoe_check_result result = result_of_difference(row, column, -1.0f);
        const adamoe_surroundings *around = &result.around;
        assert_int_equal(around->above, row > 0);
        assert_int_equal(around->left, column < 2 ? column : 2);
        assert_int_equal(around->rows, 1 + (row > 0) + (row + 1 < ROWS));
        assert_int_equal(around->columns,
                         1 + around->left + (COLUMNS - 1 - column < 2 ? COLUMNS - 1 - column : 2));
        for (size_t i = 0; i < around->rows * around->columns; ++i) {
            const size_t r = i / around->columns, c = i % around->columns;
            const size_t from = (row - around->above + r) * COLUMNS + column - around->left + c;
            assert_true(around->expected[r][c] == (double)from);
            assert_true(around->got[r][c] == (from == at ? -1.0 : (double)from));
            assert_true(around->share[r][c] == (from == at ? HUGE_VAL : 0.0));
        }
    }
}

static void shares_are_of_the_bound(void **state)
{
    (void)state;
    double expected[3] = {1.0, 2.0, 4.0}, spread[3] = {0.0, 0.0, 0.0}, slack[3] = {0.5, 0.0, 0.25};
    const float got[3] = {1.25f, 2.0f, 5.0f};
    const adamoe_yardstick yardstick = {3, expected, spread, slack};
    adamoe_check_result result = {.status = ADAMOE_CHECK_PASSED};
    const adamoe_checking k = {.out = &result};
    assert_false(adamoe_check_judge(&k, &yardstick, got, 3, 1.0));
    assert_int_equal(result.column, 2);
    assert_int_equal(result.around.columns, 3);
    assert_true(result.around.share[0][0] == 0.5);
    assert_true(result.around.share[0][1] == 0.0);
    assert_true(result.around.share[0][2] == 4.0);
}

/* NaN and infinity too, bit by bit. */
static void a_child_tells_its_parent(void **state)
{
    (void)state;
    const float values[] = {0.1f, NAN, INFINITY, -0.0f, 1e-45f};
    for (size_t i = 0; i < sizeof values / sizeof *values; ++i) {
        const adamoe_check_result result = result_of_difference(2, 3, values[i]);
        adamoe_surroundings read;
        json_t *line = adamoe_surroundings_line(&result.around);
        assert_non_null(line);
        assert_true(adamoe_surroundings_read(line, &read));
        assert_int_equal(read.rows, result.around.rows);
        assert_int_equal(read.columns, result.around.columns);
        assert_int_equal(read.above, result.around.above);
        assert_int_equal(read.left, result.around.left);
        for (size_t j = 0; j < read.rows * read.columns; ++j) {
            const size_t r = j / read.columns, c = j % read.columns;
            const double got = read.got[r][c], wanted = result.around.got[r][c];
            assert_true((isnan(got) && isnan(wanted)) || (got == wanted && signbit(got) == signbit(wanted)));
            assert_true(read.share[r][c] == result.around.share[r][c]);
        }
        json_decref(line);
    }
}

static void what_is_no_block_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{}",
        "{\"rows\": 4, \"columns\": 1, \"expected\": \"0 0 0 0\", \"got\": \"0 0 0 0\", \"share\": \"0 0 0 0\"}",
        "{\"rows\": 1, \"columns\": 2, \"expected\": \"0x1p0\", \"got\": \"0 0\", \"share\": \"0 0\"}",
        "{\"rows\": 1, \"columns\": -1, \"expected\": \"\", \"got\": \"\", \"share\": \"\"}"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; ++i) {
        adamoe_surroundings read;
        json_t *line = json_loads(lines[i], 0, NULL);
        assert_non_null(line);
        assert_false(adamoe_surroundings_read(line, &read));
        json_decref(line);
    }
}

/* Of a gradient, the row counts from the first of an expert: the row above it is of another one, and is left out. */
static void programs_see_no_other_tensor(void **state)
{
    (void)state;
    adamoe_check_result result = result_of_difference(2, 3, NAN);
    result.row = 0;
    json_t *json = adamoe_surroundings_json(&result);
    const json_t *index = json_object_get(json, "index"), *got = json_object_get(json, "got");
    assert_int_equal(json_integer_value(json_array_get(index, 0)), 0);
    assert_int_equal(json_integer_value(json_array_get(index, 1)), 1);
    assert_int_equal(json_array_size(got), 2);
    assert_true(json_is_null(json_array_get(json_array_get(got, 0), 2)));
    assert_true(json_number_value(json_array_get(json_array_get(got, 1), 0)) == 3.0 * COLUMNS + 1.0);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_ends_where_the_tensor_does), cmocka_unit_test(shares_are_of_the_bound),
        cmocka_unit_test(a_child_tells_its_parent),         cmocka_unit_test(what_is_no_block_is_refused),
        cmocka_unit_test(programs_see_no_other_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

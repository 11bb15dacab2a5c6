/*
 * The size of the last-level cache by hand: what is a size and what is not.
 */
#include "test.h"
#include "machine/last_level_cache.h"

#include <stdlib.h>

static void set(const char *text)
{
    assert_int_equal(text == NULL ? unsetenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE)
                                  : setenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE, text, 1),
                     0);
}

static void a_size_by_hand(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
    } sizes[] = {{"0", 0},
                 {"33554432", 33554432},
                 {"32768K", 33554432},
                 {"480M", (size_t)480 << 20},
                 {"1G", (size_t)1 << 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        set(sizes[i].text);
        assert_ok(adamoe_last_level_cache_check());
        assert_true(adamoe_last_level_cache_is_by_hand());
        assert_int_equal(adamoe_last_level_cache(), sizes[i].bytes);
    }
}

static void what_is_no_size_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "M",
                                        "-1",
                                        " 1",
                                        "+1",
                                        "1.1G",
                                        "32 M",
                                        "32m",
                                        "32MB",
                                        "99999999999999999999",
                                        "72057594037927937",
                                        "70368744177664K"};
    set(NULL);
    const size_t own = adamoe_last_level_cache();
    assert_ok(adamoe_last_level_cache_check());
    assert_false(adamoe_last_level_cache_is_by_hand());
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        set(wrong[i]);
        assert_error(adamoe_last_level_cache_check(), ADAMOE_BAD_INPUT, "ADAMOE_LAST_LEVEL_CACHE: `");
        assert_false(adamoe_last_level_cache_is_by_hand());
        assert_int_equal(adamoe_last_level_cache(), own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_by_hand),
        cmocka_unit_test(what_is_no_size_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

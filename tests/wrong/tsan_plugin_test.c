/*
 * ci/tsan_plugin.sh on an honest plugin and on one with a data race that no bit shows. Of the preset tsan alone,
 * whose program the script needs.
 */
#include "program.h"
#include "test.h"

#define SCRIPT "sh " SHELL_WORD(SOURCE_PATH("ci/tsan_plugin.sh")) " "
#define HONEST SHELL_WORD(SOURCE_PATH("tests/plugin/example.c"))
#define RACY   SHELL_WORD(SOURCE_PATH("tests/wrong/threads.c")) " " PIECES
#define FOLDER SOURCE_PATH("tests/honest/")
#define PIECES                                                                                               \
    SHELL_WORD(FOLDER "honest.c")                                                                            \
    " " SHELL_WORD(FOLDER "honest_backward.c") " " SHELL_WORD(FOLDER "honest_route.c") " -I " SHELL_WORD(    \
        SOURCE_PATH("tests"))

static void an_honest_plugin_passes(void **state)
{
    (void)state;
    const outcome *got = run(SCRIPT HONEST);
    expect(got, 0, " 0 failed, ");
    assert_null(strstr(got->text, "ThreadSanitizer"));
}

static void a_race_is_found(void **state)
{
    (void)state;
    const outcome *got = run("KERNELS=wrong-published-early " SCRIPT RACY);
    expect(got, 1, "SUMMARY: ThreadSanitizer: data race ");
    expect(got, 1, "threads.c:");
    expect(got, 1, "FAILED wrong-published-early bitwise/");
}

static void what_is_no_plugin_is_said(void **state)
{
    (void)state;
    expect(run(SCRIPT), 2, "usage: sh ci/tsan_plugin.sh SOURCE.c");
    expect(run(SCRIPT SHELL_WORD(SOURCE_PATH("no/such.c"))), 2, "no/such.c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_plugin_passes),
        cmocka_unit_test(a_race_is_found),
        cmocka_unit_test(what_is_no_plugin_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

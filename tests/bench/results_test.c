/*
 * What becomes of the results of adamoe bench and adamoe check.
 */
#include "program.h"

#define BENCH                                                                                                \
    ADAMOE " bench --kernel reference --tokens 1 --threads 1 --benchmark_min_time=0.001 "                    \
           "--benchmark_repetitions=2"

/* A flag that is true or false is read as the library reads it. */
static void a_list_is_no_report(void **state)
{
    const char *folder = *state;
    expect(run(BENCH " --benchmark_list_tests=false --json %s/f", folder), 0, "Time");
    assert_true(exists(folder, "f"));
    expect(run(BENCH " --benchmark_list_tests=0 --benchmark_out=%s/g", folder), 0, "Time");
    assert_true(exists(folder, "g"));
    static const char *const lists[] = {"--benchmark_list_tests", "--benchmark_list_tests=true",
                                        "--benchmark_list_tests=no --benchmark_list_tests=1"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; ++i) {
        const outcome *got = run(BENCH " %s --json %s/none", lists[i], folder);
        expect(got, 0, "layer/tiny/reference/tokens:1");
        assert_null(strstr(got->text, "Time"));
        assert_false(exists(folder, "none"));
    }
    expect(run("BENCHMARK_LIST_TESTS=1 " BENCH " --json %s/none", folder), 0, "layer/tiny/reference");
    assert_int_equal(count_files(state), 2);
}

static void an_interrupted_bench_leaves_nothing(void **state)
{
    const char *folder = *state;
    const outcome *got = run("timeout --preserve-status -s INT 0.5 " ADAMOE
                             " bench --kernel reference --benchmark_min_time=60 --json %s/r; exit $?",
                             folder);
    assert_true(got->code != 0 && got->code != 2 && got->code != 4);
    assert_int_equal(count_files(state), 0);
}

static void check_refuses_before_the_work(void **state)
{
    const char *folder = *state;
    expect(run(ADAMOE " check --list --json -"), 2, "--list writes no --json");
    expect(run(ADAMOE " check --seed 9223372036854775808 --json -"), 2, "--seed: with --json");
    expect(run(ADAMOE " check --kernel reference --seed 9223372036854775807 --json - --case $(" ADAMOE
                      " check --list | head -1)"),
           0, "\"seed\": 9223372036854775807,");
    const outcome *got = run(ADAMOE " check --json %s/no/r.json", folder);
    expect(got, 4, "check: ");
    assert_null(strstr(got->text, "passed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_list_is_no_report, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_interrupted_bench_leaves_nothing, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(check_refuses_before_the_work, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

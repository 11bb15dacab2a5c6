/*
 * adamoe check survives its kernels: what crashes, hangs, leaves its buffers or brings a wrong interface is a
 * failed line that names the case, the exit code is 1, and everybody else's results are complete.
 */
#include "program.h"
#include "test.h"

#define CHECK ADAMOE " check --jobs 2 --threads 2 "
#define NAME  "bound/experts/d:9/ff:5/n:2/m:1/k:2/tokens:3/routing:random/weights:f32"

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        ++count;
    }
    return count;
}

/* A kernel of the broken plugin, the text that its failure must have, and what it asks the machine for. */
static void expect_failure(const char *kernel, const char *why)
{
    const outcome *got =
        run(CHECK "--plugin '" ADAMOE_BROKEN "' --kernel %s --timeout 2 --case " NAME, kernel);
    expect(got, 1, why);
    char line[512];
    (void)snprintf(line, sizeof line, "FAILED %s " NAME ": bound: ", kernel);
    expect(got, 1, line);
    (void)snprintf(line, sizeof line,
                   "repeat: adamoe check --kernel %s --plugin '" ADAMOE_BROKEN "' --case " NAME
                   " --seed 1 --threads 2\n",
                   kernel);
    expect(got, 1, line);
    expect(got, 1, "1 cases: 0 passed, 1 failed");
}

static void each_breach_is_named(void **state)
{
    (void)state;
    expect_failure("crashing", "ended by signal 4 (Illegal instruction)");
    expect_failure("hanging", "hung: no result after 2 s");
    expect_failure("writing-behind", "ended by signal 11 (Segmentation fault)");
    expect_failure("writing-before", "wrote outside of its output");
    expect_failure("reading-behind", "ended by signal 11 (Segmentation fault)");
    expect_failure("writing-to-input", "ended by signal 11 (Segmentation fault)");
    expect_failure("claiming-shortage", "experts: broken: out of memory");
    expect_failure("leaking", "1 allocation of its host were not given back");
    expect_failure("writing-behind-work", "wrote outside of its workspace");
#if defined(__x86_64__)
    expect_failure("changing-modes", "experts, in a task, left changed: MXCSR");
#endif
}

/* That it does not repeat is no excuse: races are like that. */
static void a_crash_that_does_not_repeat_is_a_failure(void **state)
{
    const folder_path crashed = in_folder(state, "crashed");
    static const char null_case[] = "bound/experts/d:9/ff:5/n:2/m:1/k:1/tokens:3/routing:null/weights:f32";
    expect(run("ADAMOE_TEST_CRASHED='%s' " CHECK "--plugin '" ADAMOE_BROKEN
               "' --kernel crashing-once --case %s",
               crashed.text, null_case),
           1, "bound: ended by signal 4 (Illegal instruction); not so when tried again alone\n");
    expect(run("ADAMOE_TEST_CRASHED='%s' " CHECK "--plugin '" ADAMOE_BROKEN
               "' --kernel crashing-once --case %s",
               crashed.text, null_case),
           0, "1 cases: 0 passed, 0 failed, 1 vacuous");
}

/* The cases behind a crash go on, in a child of their own. */
static void a_crash_ends_one_case(void **state)
{
    (void)state;
    const outcome *got = run(CHECK "--plugin '" ADAMOE_BROKEN
                                   "' --kernel crashing --kernel reference --tier property --case split");
    expect(got, 1, "crashing     8 cases: 0 passed, 8 failed");
    expect(got, 1, "reference    8 cases: 8 passed, 0 failed");
    assert_null(strstr(got->text, "not tried"));
    assert_int_equal(count_of(got->text, "FAILED crashing property/split-batch/"), 8);
    expect(got, 1, "8 cases of 1 kernel failed");
}

static void hangs_are_not_waited_for_without_end(void **state)
{
    (void)state;
    const outcome *got =
        run(CHECK "--plugin '" ADAMOE_BROKEN
                  "' --kernel hanging --timeout 1 --jobs 1 --tier property --case permuted-tokens");
    expect(got, 1, "8 cases: 0 passed, 3 failed, 0 vacuous, 5 skipped");
    expect(got, 1, "skipped 5: not run: the kernel ended or hung its process too often");
}

/* What the program's own router does in its name is no verdict on a kernel. */
static void a_kernel_that_refuses_everything_does_not_pass(void **state)
{
    (void)state;
    expect(run(CHECK "--plugin '" ADAMOE_BROKEN "' --kernel refusing"), 3,
           "refusing: no verdict: each case that calls its experts was skipped: ");
}

static void a_plugin_that_crashes_as_it_loads_is_one_line(void **state)
{
    (void)state;
    const outcome *got =
        run(CHECK "--plugin '" ADAMOE_CRASHING "' --kernel reference --case exact/multiply/rows:3/");
    expect(got, 1, "FAILED " ADAMOE_CRASHING " load: load: the process that loaded it ended by signal 6");
    expect(got, 1, "reference    38 cases: 38 passed, 0 failed");
}

/* There is nothing to judge then, and a script must not take it for a wrong kernel. */
static void a_plugin_that_is_refused_is_bad_input(void **state)
{
    (void)state;
    static const char *const plugins[][2] = {
        {ADAMOE_WRONG_ABI, "adamoe_plugin_export: version 2 of the contract, expected 1"},
        {ADAMOE_NO_KERNELS, "adamoe_plugin_export: count 0: it brings no kernels"},
        {ADAMOE_NO_PLUGIN, "adamoe_plugin_export: not exported: a shared object, but no plugin"},
        {ADAMOE_UNKNOWN_GUARANTEE,
         "kernel crashing: guarantees 0x100: version 1 of the contract has no 0x100"},
        {ADAMOE_WRONG_SUMS, "kernel crashing: x in int8, h in int8, weights in int8, sums in float32: "},
        {LAYER_PATH, "load: not a shared object"}};
    for (size_t i = 0; i < sizeof plugins / sizeof *plugins; ++i) {
        char message[1024];
        const outcome *got =
            run(CHECK "--plugin '%s' --kernel reference --case exact/multiply/rows:3/", plugins[i][0]);
        (void)snprintf(message, sizeof message, "adamoe check: %s: %s", plugins[i][0], plugins[i][1]);
        expect(got, 2, message);
        assert_null(strstr(got->text, "passed"));
    }
    expect(run(CHECK "--plugin /no/such.so"), 2,
           "adamoe check: --plugin: /no/such.so: No such file or directory");
}

/* Sizes of the tile, kinds of cases; nothing that was not asked for. */
static void what_is_not_tried_is_said(void **state)
{
    (void)state;
    static const char kinds[] = "multiply, logits, model: the kernel has no dense product; "
                                "gradient: the kernel has no backward pass";
    const char *const check = CHECK "--plugin '" ADAMOE_BROKEN "' --kernel crashing --fail-fast ";
    char line[512];
    (void)snprintf(line, sizeof line,
                   "  not tried: %s; sizes above 262144 at its tile of 100000 terms of a sum "
                   "(--exhaustive tries them)\n",
                   kinds);
    expect(run("%s", check), 1, line);
    (void)snprintf(line, sizeof line, "  not tried: %s\n", kinds);
    expect(run("%s --exhaustive", check), 1, line);
    expect(run("%s --tier model", check), 0, "  not tried: model: the kernel has no dense product\n");
    assert_null(strstr(run("%s --case property/split", check)->text, "not tried"));
    expect(run("%s --case bound/gradient/d:9/ --json -", check), 0,
           "\"not_tried\": [\n        \"gradient: the kernel has no backward pass\"\n      ]");
    expect(run(CHECK "--kernel reference --case bound/gradient/d:9/ --json -"), 0, "\"not_tried\": []");
}

static void results_for_machines(void **state)
{
    (void)state;
    const char *const arguments =
        "--plugin '" ADAMOE_BROKEN "' --kernel crashing --kernel reference --case " NAME;
    const outcome *got = run(CHECK "%s --tap -", arguments);
    expect(got, 1,
           "TAP version 13\n1..2\nok 1 - reference " NAME "\nnot ok 2 - crashing " NAME "\n# bound: ended");
    assert_null(strstr(got->text, "FAILED"));
    got = run(CHECK "%s --junit -", arguments);
    expect(got, 1, "<testsuite name=\"reference\" tests=\"1\" failures=\"0\" skipped=\"0\">");
    expect(got, 1, "<testsuite name=\"crashing\" tests=\"1\" failures=\"1\" skipped=\"0\">");
    expect(got, 1,
           "<failure message=\"bound: ended by signal 4 (Illegal instruction)&#10;  repeat: adamoe check");
    expect(run(CHECK "--tap - --json -"), 2, "--json writes there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_breach_is_named),
        cmocka_unit_test_setup_teardown(a_crash_that_does_not_repeat_is_a_failure, make_folder,
                                        remove_folder),
        cmocka_unit_test(a_crash_ends_one_case),
        cmocka_unit_test(hangs_are_not_waited_for_without_end),
        cmocka_unit_test(a_kernel_that_refuses_everything_does_not_pass),
        cmocka_unit_test(a_plugin_that_crashes_as_it_loads_is_one_line),
        cmocka_unit_test(a_plugin_that_is_refused_is_bad_input),
        cmocka_unit_test(what_is_not_tried_is_said),
        cmocka_unit_test(results_for_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

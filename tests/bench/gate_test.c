/*
 * adamoe gate, as a user runs it: baselines, another build, results, and what goes wrong. Whether something
 * is slower is never asserted here: gate_noise_test.c is about that.
 */
#include "program.h"

#include <jansson.h>

#define GATE  ADAMOE " gate --preset tiny --tokens 1 --kernel onednn-f32"
#define SMALL " --check-case rows:16/columns:4096 --model " MODEL " --questions " QUESTIONS " --limit 2"
#define QUICK GATE SMALL
#define ALL   ADAMOE " gate --preset tiny" SMALL " --tokens 1"
/* Nothing is a thousand times slower. */
#define SPEED " --only-speed --pairs 1 --milliseconds 1 --minimum-effect 1000"

static json_t *read_json(void **state, const char *name)
{
    json_t *document = json_load_file(in_folder(state, name).text, 0, NULL);
    assert_non_null(document);
    return document;
}

static void change(void **state, json_t *where, const char *key, json_t *value, json_t *document)
{
    assert_non_null(json_object_get(where, key));
    assert_int_equal(json_object_set_new(where, key, value), 0);
    assert_int_equal(json_dump_file(document, in_folder(state, "changed.json").text, 0), 0);
}

static json_t *first_of(json_t *object, const char *list)
{
    return json_array_get(json_object_get(object, list), 0);
}

static json_t *named_of(const json_t *gate, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(gate, "benchmarks"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "name")), name) == 0) {
            return entry;
        }
    }
    fail_msg("the gate has no %s", name);
    return NULL;
}

static void a_baseline_holds_and_is_missed(void **state)
{
    const char *folder = *state;
    expect(run(QUICK " --write-baseline %s/base.json", folder), 0, "");
    expect(run(QUICK " --baseline %s/base.json", folder), 0, "0 regressions, 0 missing");

    json_t *base = read_json(state, "base.json"), *gate = json_object_get(base, "gate");
    json_t *benchmark = first_of(gate, "benchmarks");
    assert_null(json_object_get(base, "environment"));
    assert_null(json_object_get(benchmark, "output_bits"));
    assert_null(json_object_get(first_of(json_object_get(gate, "check"), "kernels"), "results"));
    change(state, benchmark, "executed_flops", json_real(1.0), base);
    json_t *wire = named_of(gate, "wire/ranks:2/experts:load");
    change(state, wire, "result_bytes", json_integer(1), base);
    const outcome *got = run(QUICK " --baseline %s/changed.json", folder);
    expect(got, 1, "regression work     tiny/onednn-f32/tokens:1/threads:1: executed_flops 1 ->");
    expect(got, 1, "regression work     wire/ranks:2/experts:load: result_bytes 1 ->");
    json_decref(base);

    base = read_json(state, "base.json");
    change(state, json_object_get(json_object_get(json_object_get(base, "gate"), "evaluation"), "adamoe"),
           "load", json_real(0.5), base);
    expect(run(QUICK " --baseline %s/changed.json", folder), 1, "questions: load 0.5 ->");
    change(state,
           json_object_get(
               json_object_get(json_object_get(json_object_get(base, "gate"), "evaluation"), "results"),
               "questions"),
           "acc,none", json_real(1.5), base);
    expect(run(QUICK " --baseline %s/changed.json", folder), 1,
           "regression accuracy questions: acc 150.00 % ->");
    json_decref(base);

    base = read_json(state, "base.json");
    change(state, first_of(json_object_get(json_object_get(base, "gate"), "check"), "kernels"), "passed",
           json_integer(1000), base);
    expect(run(QUICK " --baseline %s/changed.json", folder), 0, "1000 passed, 0 failed ->");
    expect(run(ALL " --baseline %s/changed.json", folder), 1, "1000 passed, 0 failed ->");
    json_decref(base);
    /* What is left out by --kernel is said, and does not fail. */
    expect(run(QUICK " --kernel reference --write-baseline %s/two.json", folder), 0, "");
    got = run(QUICK " --baseline %s/two.json", folder);
    expect(got, 0, "Left out by --kernel: 1 other kernel of the baseline.");
    expect(got, 0, "0 regressions, 0 missing");
    /* A baseline is a result like any other. */
    expect(run(ADAMOE " compare %s/base.json %s/base.json", folder, folder), 0, "0 regressions");
}

/* The benchmark of `adamoe bench` of the same kernel and tokens: layer/tiny/KERNEL/tokens:N/... for gate's
 * tiny/KERNEL/tokens:N/threads:1. */
static const json_t *find_bench(const json_t *bench, const char *gate_name)
{
    const char *end = strstr(gate_name, "/threads:");
    size_t i;
    const json_t *entry;
    assert_non_null(end);
    const size_t length = (size_t)(end - gate_name);
    json_array_foreach(json_object_get(bench, "benchmarks"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name != NULL && strncmp(name, "layer/", 6) == 0 && strncmp(name + 6, gate_name, length) == 0 &&
            name[6 + length] == '/') {
            return entry;
        }
    }
    fail_msg("bench has no %s", gate_name);
    return NULL;
}

/* Gate and bench count what a plan costs alike: bytes (int8 with its scales), FLOPs and rows. */
static void gate_and_bench_count_the_same_work(void **state)
{
    static const char *const keys[] = {"executed_flops", "touched_bytes", "expert_rows"};
    const char *folder = *state;
    expect(run(ALL ",16 --write-baseline %s/base.json", folder), 0, "");
    expect(run(ADAMOE " bench --preset tiny --tokens 1,16 --threads 1 --benchmark_repetitions=1 "
                      "--benchmark_min_time=0.001 --json %s/bench.json",
               folder),
           0, "");
    json_t *base = read_json(state, "base.json"), *bench = read_json(state, "bench.json");
    const json_t *benchmarks = json_object_get(json_object_get(base, "gate"), "benchmarks");
    size_t i;
    const json_t *entry;
    assert_true(json_array_size(benchmarks) >= 2);
    json_array_foreach(benchmarks, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (strncmp(name, "wire/", 5) == 0) {
            continue;
        }
        const json_t *other = find_bench(bench, name);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; ++k) {
            const double gated = json_number_value(json_object_get(entry, keys[k]));
            const double benched = json_number_value(json_object_get(other, keys[k]));
            if (!(gated > 0.0 && gated == benched)) {
                fail_msg("%s: %s is %.0f of gate and %.0f of bench", name, keys[k], gated, benched);
            }
        }
    }
    json_decref(base);
    json_decref(bench);
}

static void a_build_is_compared_with_itself(void **state)
{
    const char *folder = *state;
    expect(run(QUICK " --against " ADAMOE " --rounds 8 --pairs 1 --milliseconds 1 "
                     "--minimum-effect 1000 --json %s/g.json --markdown %s/g.md",
               folder, folder),
           0, "8 rounds of 1 pairs");
    json_t *result = read_json(state, "g.json");
    const json_t *speed = first_of(result, "speed");
    assert_int_equal(json_array_size(json_object_get(speed, "time_ratio_by_round")), 8);
    assert_true(json_number_value(first_of((json_t *)(uintptr_t)speed, "time_ratio_by_round")) > 0.0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(result, "comparison"), "tests")), 1);
    assert_non_null(json_object_get(json_object_get(result, "environment"), "machine"));
    json_decref(result);
    size_t size;
    char *text = read_bytes(in_folder(state, "g.md").text, &size);
    assert_non_null(strstr(text, "### adamoe gate: no regression\n"));
    assert_non_null(strstr(text, "| same | speed | tiny/onednn-f32/tokens:1/threads:1 | time |"));
    free(text);
}

/* The new side gets the slowed plugin; its work is the same, and so are its bits. */
static void plugins_of_both_sides_may_differ(void **state)
{
    const char *folder = *state;
    expect(run(ADAMOE " gate --kernel slowed --tokens 1 --preset tiny --against " ADAMOE
                      " --plugin '" ADAMOE_PLUGINS "'/slowed_50.so --plugin-against '" ADAMOE_PLUGINS
                      "'/slowed_0.so" SPEED " --json %s/g.json",
               folder),
           0, "5 deterministic values unchanged");
    expect(run(ADAMOE " gate --kernel slowed --tokens 1 --preset tiny --against " ADAMOE
                      " --plugin '" ADAMOE_PLUGINS "'/none.so" SPEED),
           2, "none.so: open: No such file");
    /* A plugin that only the base cannot load: the base is to blame. */
    expect(run(ADAMOE " gate --kernel slowed --tokens 1 --preset tiny --against " ADAMOE
                      " --plugin '" ADAMOE_PLUGINS "'/slowed_0.so --plugin-against /none.so" SPEED),
           2, "it is no worker of this version's gate");
}

/* The script stands for another program. */
static void write_script(void **state, const char *name, const char *text)
{
    const folder_path path = in_folder(state, name);
    write_text(path.text, text);
    assert_int_equal(chmod(path.text, 0755), 0);
}

static void a_worker_that_goes_wrong_is_named(void **state)
{
    const char *folder = *state;
    expect(run(GATE " --against /bin/true" SPEED), 2, "/bin/true: it is no worker of this version's gate");
    write_script(state, "dies", "#!/bin/sh\necho adamoe worker 1\nread line\nkill -SEGV $$\n");
    expect(run(GATE " --against %s/dies" SPEED, folder), 4, "dies: it was ended by signal 11");
    write_script(state, "ends", "#!/bin/sh\necho adamoe worker 1\nread line\nexit 7\n");
    expect(run(GATE " --against %s/ends" SPEED, folder), 4, "ends: it ended with exit code 7");
    write_script(state, "babbles", "#!/bin/sh\necho adamoe worker 1\nread line\necho hello\nread line\n");
    expect(run(GATE " --against %s/babbles" SPEED, folder), 4, "an answer that is none: `hello'");
    write_script(state, "lacks",
                 "#!/bin/sh\necho adamoe worker 1\nread line\necho error 2 no such kernel\nread line\n");
    expect(run(GATE " --against %s/lacks" SPEED, folder), 2,
           "nothing could be compared: nothing to compare with: no such kernel");
    write_script(state, "slow",
                 "#!/bin/sh\necho adamoe worker 1\nread line\n"
                 "echo case 1 1 1 1 1 00\nwhile read line; do echo seconds 0; done\n");
    expect(run(GATE " --against %s/slow" SPEED, folder), 4, "slow: tiny/onednn-f32");
}

/* Which side is which: nothing is as fast as the one, and nothing as slow as the other. */
static void the_slower_side_is_told(void **state)
{
    const char *folder = *state;
    static const char script[] = "#!/bin/sh\necho adamoe worker 1\nread line\n"
                                 "echo case 1 1 1 1 1 00\nwhile read line; do echo seconds %s; done\n";
    char text[256];
    (void)snprintf(text, sizeof text, script, "0.00001");
    write_script(state, "fast", text);
    (void)snprintf(text, sizeof text, script, "1000");
    write_script(state, "slow", text);
    static const char options[] = " --only-speed --pairs 1 --milliseconds 1";
    expect(run(GATE " --against %s/fast%s", folder, options), 1, "regression speed    tiny/onednn-f32");
    expect(run(GATE " --against %s/slow%s", folder, options), 1, "improved   speed    tiny/onednn-f32");
}

/* The reference would need the better part of an hour for the questions. */
static void a_signal_ends_the_evaluation_too(void **state)
{
    const char *folder = *state;
    const outcome *o = run(
        "mkdir %s/kept && for i in $(seq 100); do cat '" SOURCE_PATH(
            "datasets/wordnet/test.jsonl") "'; done > %s/q && "
                                           "{ TMPDIR=%s/kept " GATE
                                           " --check-case rows:16/columns:4096 --model '" SOURCE_PATH(
                                               "datasets/tiny-adamoe") "' "
                                                                       "--questions %s/q --limit 95200 --write-baseline %s/base.json & "
                                                                       "until ls %s/kept/adamoe-gate.* >%s/ls 2>&1; do sleep 0.05; done; sleep 0.5; kill -TERM $!; wait $!; }",
        folder, folder, folder, folder, folder, folder, folder);
    assert_int_equal(o->code, 128 + SIGTERM);
    expect(run("ls %s/kept | wc -l; ls %s", folder, folder), 0, "0\nkept\nls\nq\n");
}

static void usage_is_checked_before_the_work(void **state)
{
    const char *folder = *state;
    expect(run(GATE), 2, "one of --against, --baseline and --write-baseline is needed");
    expect(run(GATE " --only-speed --baseline x --against y"), 2,
           "--only-speed: speed is compared by --against");
    expect(run(GATE " --baseline x --plugin-against y"), 2, "--plugin-against needs --against");
    expect(run(GATE " --against %s/nothing" SPEED, folder), 2, "--against: ");
    expect(run(GATE " --against %s" SPEED, folder), 2, "bin/adamoe: No such file");
    expect(run(GATE " --rounds 5 --against " ADAMOE SPEED), 2, "it takes at least 6 to find anything");
    expect(run(ADAMOE " gate --kernel none --against " ADAMOE SPEED), 2, "none: no such kernel");
    expect(run(GATE " --preset none --against " ADAMOE SPEED), 2,
           "--preset: `none' is not one of: gate, tiny, ");
    expect(run(GATE " --tokens 1,x --against y"), 2, "--tokens: `x' is not a whole number");
    expect(run(QUICK " --baseline %s/none.json", folder), 2, "none.json: open");
    expect(run(GATE " --questions " QUESTIONS " --model %s/none --baseline y", folder), 2, "none");
}

static void results_are_whole_or_not_there(void **state)
{
    const char *folder = *state;
    const folder_path full = full_device(state);
    const size_t files = count_files(state);
    static const char *const options[] = {"--markdown", "--json"};
    for (size_t i = 0; i < 2; ++i) {
        expect(run(GATE " --against " ADAMOE SPEED " %s %s", options[i], full.text), 4,
               "write: No space left");
        expect(run(GATE " --against " ADAMOE SPEED " %s /nowhere/r", options[i]), 4, "/nowhere/r");
    }
    expect(run(QUICK " --write-baseline %s", full.text), 4, "write: No space left");
    /* Killed in the middle: what was there before is still there, whole. */
    write_text(in_folder(state, "r").text, "before");
    (void)run("timeout -s KILL 0.5 " GATE " --against " ADAMOE " --only-speed --json %s/r", folder);
    size_t size;
    char *text = read_bytes(in_folder(state, "r").text, &size);
    assert_string_equal(text, "before");
    free(text);
    assert_int_equal(count_files(state), files + 1);
}

static void the_worker_answers(void **state)
{
    (void)state;
    const outcome *got =
        run("printf 'open tiny onednn-f32 3\\nopen tiny reference 3\\ntime 0 2\\ntime 2 1\\nopen "
            "olmoe reference 1\\nopen tiny none 1\\nopen tiny reference 0\\nhello\\n' | " ADAMOE
            " worker --threads 1");
    expect(got, 0, "adamoe worker 1\ncase 5 ");
    expect(got, 0, "seconds ");
    expect(got, 0, "error 2 there is no case 2");
    expect(got, 0, "error 2 olmoe: no such preset, or another one");
    expect(got, 0, "error 2 none: no such kernel");
    expect(got, 0, "error 2 reference: no tokens");
    expect(got, 0, "error 2 `hello': no such command");
    expect(run(ADAMOE " --help"), 0, "gate");
    assert_null(strstr(run(ADAMOE " --help")->text, "worker"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_baseline_holds_and_is_missed),
        TEST(a_build_is_compared_with_itself),
        TEST(plugins_of_both_sides_may_differ),
        TEST(a_worker_that_goes_wrong_is_named),
        TEST(the_slower_side_is_told),
        TEST(a_signal_ends_the_evaluation_too),
        TEST(usage_is_checked_before_the_work),
        TEST(results_are_whole_or_not_there),
        TEST(the_worker_answers),
        TEST(gate_and_bench_count_the_same_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

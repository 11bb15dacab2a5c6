/*
 * `adamoe eval --task` on a tiny model against the evaluation harness itself on the same questions
 * (tests/golden/tasks/make.py): every log-probability within 1e-4, and the same answers by acc and acc_norm.
 */
#include "program.h"

#include <jansson.h>
#include <math.h>

#define VANILLA SHELL_WORD(SOURCE_PATH("datasets/tiny-mixtral-top2"))

static const char *const tasks[] = {"arc_challenge", "arc_easy",   "openbookqa", "hellaswag",
                                    "piqa",          "social_iqa", "winogrande"};

static double number_in(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* Of one question; returns the largest difference of a log-probability. */
static double compare(const char *task, const json_t *ours, const json_t *harness)
{
    const json_t *logprob = json_object_get(ours, "logprob"), *expected = json_object_get(harness, "logprob");
    const double gold = number_in(ours, "gold");
    double largest = 0.0;
    assert_int_equal(json_array_size(logprob), json_array_size(expected));
    for (size_t c = 0; c < json_array_size(logprob); ++c) {
        largest = fmax(largest, fabs(json_number_value(json_array_get(logprob, c)) -
                                     json_number_value(json_array_get(expected, c))));
    }
    if (largest > 1e-4 || (number_in(ours, "prediction") == gold) != (number_in(harness, "acc") == 1.0) ||
        (number_in(ours, "prediction_norm") == gold) != (number_in(harness, "acc_norm") == 1.0)) {
        fail_msg("%s: %s\nthe harness: %s", task, json_dumps(ours, JSON_COMPACT),
                 json_dumps(harness, JSON_COMPACT));
    }
    return largest;
}

static void answers_are_those_of_the_harness(void **state)
{
    const folder_path samples = in_folder(state, "samples.jsonl");
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; ++i) {
        char path[512];
        double largest = 0.0;
        expect(run(ADAMOE " eval --model " VANILLA " --task %s --questions '" SOURCE_PATH(
                       "tests/golden/tasks/%s.jsonl") "' --samples %s",
                   tasks[i], tasks[i], samples.text),
               0, tasks[i]);
        (void)snprintf(path, sizeof path, SOURCE_PATH("tests/golden/tasks/%s.expected.jsonl"), tasks[i]);
        FILE *ours = fopen(samples.text, "rb"), *harness = fopen(path, "rb");
        assert_true(ours != NULL && harness != NULL);
        json_t *a, *b;
        while ((b = json_loadf(harness, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
            a = json_loadf(ours, JSON_DISABLE_EOF_CHECK, NULL);
            assert_non_null(a);
            largest = fmax(largest, compare(tasks[i], a, b));
            json_decref(a);
            json_decref(b);
        }
        assert_null(json_loadf(ours, JSON_DISABLE_EOF_CHECK, NULL));
        (void)fclose(ours);
        (void)fclose(harness);
        print_message("%-14s log-probabilities within %.1e of the harness's\n", tasks[i], largest);
    }
}

/* A result carries the task's name and version, whatever the file is called. */
static void results_name_the_task(void **state)
{
    const folder_path json = in_folder(state, "result.json");
    expect(run(ADAMOE " eval --model " VANILLA " --task piqa --questions '" SOURCE_PATH(
                   "tests/golden/tasks/piqa.jsonl") "' --limit 3 --json %s",
               json.text),
           0, "acc");
    json_t *result = json_load_file(json.text, 0, NULL);
    const char *alias = NULL;
    double version = 0.0;
    int original = 0, effective = 0;
    assert_int_equal(json_unpack(result, "{s:{s:{s:s}},s:{s:F},s:{s:{s:i,s:i}}}", "results", "piqa", "alias",
                                 &alias, "versions", "piqa", &version, "n-samples", "piqa", "original",
                                 &original, "effective", &effective),
                     0);
    assert_string_equal(alias, "piqa");
    assert_true(version == 1.0);
    assert_int_equal(original, 14);
    assert_int_equal(effective, 3);
    json_decref(result);
    expect(run(ADAMOE " report %s -o %s", json.text, in_folder(state, "page.html").text), 0, "");
    expect(run("grep -o piqa %s | head -1", in_folder(state, "page.html").text), 0, "piqa");
}

static void wrong_tasks_are_refused(void **state)
{
    (void)state;
    expect(run(ADAMOE " eval --model " VANILLA " --task boolq --questions x.jsonl"), 2,
           "--task: `boolq' is not one of: arc_challenge, arc_easy, openbookqa, hellaswag, piqa, social_iqa, "
           "winogrande");
    expect(run(ADAMOE " eval --model " VANILLA
                      " --task winogrande --questions '" SOURCE_PATH("tests/golden/tasks/piqa.jsonl") "'"),
           2, "piqa.jsonl: line 1: option1 is missing");
    expect(run(ADAMOE " eval --model " VANILLA " --task piqa --format letter --questions '" SOURCE_PATH(
               "tests/golden/tasks/piqa.jsonl") "'"),
           2, "--format letter: a sample log and a task fix their own prompts");
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; ++i) {
        expect(run(ADAMOE " eval --help"), 0, tasks[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_are_those_of_the_harness, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(results_name_the_task, make_folder, remove_folder),
        cmocka_unit_test(wrong_tasks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

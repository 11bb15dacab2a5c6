/*
 * adamoe eval: which option is blamed, what happens to its results before, during and after the work.
 */
#include "program.h"

#include <jansson.h>

#define EVAL ADAMOE " eval --kernel reference --model " MODEL " --questions " QUESTIONS

static void the_option_is_blamed(void **state)
{
    (void)state;
    expect(run(EVAL " --top-k 17"), 2, "eval: --top-k: 17, but there are 16 experts");
    expect(run(EVAL " --null-experts 0 --top-k 9"), 2, "eval: --top-k: 9, but there are 8 experts");
    expect(run(EVAL " --null-experts 7"), 2, "eval: --null-experts: ");
    expect(run(EVAL " --baseline-k 9"), 2, "eval: --baseline-k: 9, but there are 8 true experts");
    expect(run(EVAL " --baseline-k 8 --limit 1"), 0, "top-8 baseline");
    expect(run(EVAL " --limit 1"), 0, "top-2 baseline");
}

static void one_question_has_no_standard_error(void **state)
{
    (void)state;
    const outcome *got = run(EVAL " --limit 1");
    expect(got, 0, "(standard error -)");
    assert_null(strstr(got->text, "nan"));
    expect(got, 0, "The weights are random");
}

/* No exit code 0 or 4 after minutes of work: these are refused before the first question. */
static void results_are_looked_at_first(void **state)
{
    const char *folder = *state;
    expect(run("timeout 5 " EVAL " --json %s/no/r.json", folder), 4, "no/r.json: create: ");
    expect(run(EVAL " --limit 1 --samples %s/no/s", folder), 4, "no/s: create: ");
    expect(run(EVAL " --limit 1 --json %s", folder), 4, ": open: Is a directory");
    expect(run(EVAL " --limit 1 --json %s/r --samples %s/r", folder, folder), 2, "/r: --json writes there");
    expect(run(EVAL " --limit 1 --json %s/r --record-routing %s/./r", folder, folder), 2,
           "/r: --json writes there");
    expect(run("cd %s && touch r && ln -s r link && " EVAL " --limit 1 --json r --samples link", folder), 2,
           "--samples: link: --json writes there");
    expect(run(EVAL " --limit 1 --json - --samples -"), 2, "--samples: -: --json writes there");
    expect(run(EVAL " --limit 1 --record-routing -"), 2, "--record-routing: a safetensors file");
    assert_int_equal(count_files(state), 2);
}

static void samples_have_standard_output_alone(void **state)
{
    (void)state;
    const outcome *got = run(EVAL " --limit 1 --samples -");
    json_error_t error;
    json_t *line = json_loads(got->text, 0, &error); /* which refuses anything behind it */
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "id")), "adamoe-0001");
    json_decref(line);
}

/* Interrupted or killed while it scores: no result, no temporary file. */
static void an_interrupted_run_leaves_nothing(void **state)
{
    const char *folder = *state;
    static const char *const signals[] = {"INT", "TERM", "HUP", "KILL"};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; ++i) {
        const outcome *got = run("timeout --preserve-status -s %s 0.3 " EVAL
                                 " --json %s/r --samples %s/s --record-routing %s/t; exit $?",
                                 signals[i], folder, folder, folder);
        assert_true(got->code != 0 && got->code != 2 && got->code != 4);
        assert_int_equal(count_files(state), 0);
    }
}

static void a_path_that_is_not_utf8(void **state)
{
    const char *folder = *state;
    assert_int_equal(run("head -2 " QUESTIONS " > %s/$(printf "
                         "'q\\377.jsonl')",
                         folder)
                         ->code,
                     0);
    expect(run(ADAMOE " eval --kernel reference --model " MODEL " --questions %s/q*.jsonl --json %s/r.json",
               folder, folder),
           0, "2 of 2 questions");
    json_error_t error;
    json_t *document = json_load_file(in_folder(state, "r.json").text, 0, &error);
    assert_non_null(document);
    assert_non_null(json_object_get(json_object_get(document, "results"), "q\xEF\xBF\xBD"));
    json_decref(document);
}

/* Each moment belongs to one stage, so that none is negative and all add up; each that this model has takes time. */
static void stages_add_up(void **state)
{
    static const char *const all[] = {"router", "plan",        "experts", "projections", "attention", "norms",
                                      "head",   "log_softmax", "packing", "other",       "outside"};
    const char *folder = *state;
    expect(run(ADAMOE " eval --kernel onednn-f32 --stages --limit 20 --model " MODEL " --questions " QUESTIONS
                      " --json %s/r.json",
               folder),
           0, "Stages: router ");
    json_error_t error;
    json_t *document = json_load_file(in_folder(state, "r.json").text, 0, &error);
    const json_t *costs = json_object_get(document, "adamoe");
    const json_t *shares = json_object_get(costs, "stage_shares"),
                 *times = json_object_get(costs, "stage_seconds");
    const double seconds = json_real_value(json_object_get(costs, "seconds"));
    double sum = 0.0;
    assert_int_equal(json_object_size(shares), sizeof all / sizeof *all);
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        const double share = json_real_value(json_object_get(shares, all[i]));
        assert_true(share > 0.0 || (share == 0.0 && strcmp(all[i], "packing") == 0));
        assert_true(fabs(json_real_value(json_object_get(times, all[i])) - share * seconds) < 1e-9);
        sum += share;
    }
    assert_true(fabs(sum - 1.0) < 1e-9);
    json_decref(document);
    expect(run(EVAL " --stages --limit 1"), 2, "eval: --stages: the naive model has none");
}

/* What was measured is in the result, and the kernel that was taken gives the same bits when it is named. */
static void the_fastest_of_a_type_is_taken_and_named(void **state)
{
    const char *folder = *state;
    const outcome *got = run(ADAMOE " eval --model " MODEL " --questions " QUESTIONS
                                    " --limit 4 --dtype float32 --json %s/f.json --samples %s/chosen",
                             folder, folder);
    expect(got, 0, "Kernels with float32 weights, on the first layer with 512 tokens, the least time of 5:");
    expect(got, 0, " ms, taken");
    json_error_t error;
    json_t *document = json_load_file(in_folder(state, "f.json").text, 0, &error);
    assert_non_null(document);
    const json_t *cost = json_object_get(document, "adamoe"),
                 *choice = json_object_get(cost, "kernel_choice"), *entry;
    const char *chosen = json_string_value(json_object_get(choice, "chosen"));
    assert_string_equal(json_string_value(json_object_get(cost, "kernel")), chosen);
    double least = INFINITY, of_chosen = 0.0;
    size_t i;
    json_array_foreach(json_object_get(choice, "candidates"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "kernel"));
        const double seconds = json_number_value(json_object_get(entry, "seconds"));
        assert_string_not_equal(name, "reference");
        assert_true((seconds > 0.0) == json_is_null(json_object_get(entry, "why_not")));
        least = seconds > 0.0 && seconds < least ? seconds : least;
        of_chosen = strcmp(name, chosen) == 0 ? seconds : of_chosen;
    }
    assert_true(i > 1 && of_chosen >= least && of_chosen <= 1.05 * least);
    expect(run(ADAMOE " eval --model " MODEL " --questions " QUESTIONS
                      " --limit 4 --dtype float32 --kernel %s --samples %s/named && cmp %s/chosen %s/named",
               chosen, folder, folder, folder),
           0, "acc");
    json_decref(document);
    expect(run(EVAL " --dtype bfloat16"), 2,
           "eval: --dtype: bfloat16, but the weights of kernel reference are float32");
    expect(run(EVAL " --dtype int4"), 2, "--dtype: `int4' is not one of: float32, bfloat16, int8");
}

/* Its sequences are as long as the context lets them be, and what is told is what was run. */
static void a_short_context_is_measured_with_fewer_tokens(void **state)
{
    const char *folder = *state;
    expect(run("cp -r " MODEL
               " %s/m && chmod -R u+w %s/m && sed -i 's/\\(max_position_embeddings\": \\)512/\\132/' "
               "%s/m/config.json && " ADAMOE " eval --model %s/m --questions " QUESTIONS
               " --limit 1 --dtype float32",
               folder, folder, folder, folder),
           0, "on the first layer with 256 tokens, the least time of 5:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_option_is_blamed),
        cmocka_unit_test(one_question_has_no_standard_error),
        cmocka_unit_test_setup_teardown(results_are_looked_at_first, make_folder, remove_folder),
        cmocka_unit_test(samples_have_standard_output_alone),
        cmocka_unit_test_setup_teardown(an_interrupted_run_leaves_nothing, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_path_that_is_not_utf8, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(stages_add_up, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_fastest_of_a_type_is_taken_and_named, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_short_context_is_measured_with_fewer_tokens, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * adamoe reproduce as a user meets it: one whole run on what ships, and what it refuses before the work.
 */
#include "program.h"

#include <jansson.h>

#define IN_PROJECT "cd '" ADAMOE_SOURCE_DIR "' && " ADAMOE_PROGRAM " reproduce"

static json_t *at(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (value == NULL) {
        fail_msg("\"%s\" is missing", key);
    }
    return value;
}

static json_t *load_json(const char *path)
{
    json_error_t error;
    json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL) {
        fail_msg("%s: line %d: %s", path, error.line, error.text);
    }
    return document;
}

static void check_kernels(const json_t *document)
{
    const json_t *check = at(document, "check"), *entry;
    size_t i;
    bool has_reference = false;
    json_array_foreach(check, i, entry)
    {
        has_reference = has_reference || strcmp(json_string_value(at(entry, "kernel")), "reference") == 0;
        assert_non_null(at(entry, "implementation"));
        assert_int_equal(json_integer_value(at(entry, "failed")), 0);
        assert_true(!json_is_true(at(entry, "supported")) || json_integer_value(at(entry, "passed")) > 0);
    }
    assert_true(has_reference);
    json_array_foreach(at(document, "throughput"), i, entry)
    {
        assert_non_null(at(entry, "implementation"));
        assert_int_equal(json_array_size(at(entry, "timings")), 4);
    }
}

/* The vanilla side selects two true experts for each token and layer: its load is exact, and it is its own
 * baseline but for the null experts that it does not have. */
static void check_sides(const json_t *evaluation)
{
    const json_t *vanilla = at(at(evaluation, "vanilla"), "adamoe");
    const json_t *adaptive = at(at(evaluation, "adamoe"), "adamoe");
    assert_true(json_real_value(at(vanilla, "load")) == 2.0);
    assert_true(json_real_value(at(vanilla, "expert_flops_reduction")) == 0.0);
    assert_true(json_real_value(at(vanilla, "model_flops_reduction")) == 0.0);
    assert_int_equal(json_integer_value(at(at(at(evaluation, "vanilla"), "config"), "top_k")), 2);
    assert_int_equal(json_integer_value(at(at(at(evaluation, "vanilla"), "config"), "null_experts")), 0);
    const double load = json_real_value(at(adaptive, "load"));
    assert_true(load > 0.0 && load < 2.0);
    assert_true(fabs(json_real_value(at(adaptive, "expert_flops_reduction")) - (1.0 - load / 2.0)) < 1e-12);
    assert_int_equal(json_integer_value(at(at(at(evaluation, "adamoe"), "config"), "top_k")), 3);
    assert_int_equal(json_integer_value(at(at(at(evaluation, "adamoe"), "config"), "null_experts")), 8);
    assert_true(json_integer_value(at(vanilla, "tokens_processed")) ==
                json_integer_value(at(adaptive, "tokens_processed")));
    assert_true(json_is_true(at(vanilla, "weights_are_random")));
    assert_true(json_is_true(at(adaptive, "weights_are_random")));
    assert_true(json_is_true(at(evaluation, "weights_are_random")));
}

static void check_time(const json_t *reduction)
{
    const double least = json_real_value(at(reduction, "least"));
    const double median = json_real_value(at(reduction, "median"));
    const double greatest = json_real_value(at(reduction, "greatest"));
    assert_true(least <= median && median <= greatest && greatest < 1.0);
    assert_true(least < greatest);
}

static void a_whole_run(void **state)
{
    const folder_path file = in_folder(state, "r.json");
    const outcome *got = run(IN_PROJECT " --seed 7 --threads 2 --json %s", file.text);
    expect(got, 0, "The weights are random");
    expect(got, 0, "datasets/tiny-adamoe on 200 questions of questions");
    json_t *document = load_json(file.text);
    assert_true(strncmp(json_string_value(at(document, "version")), "0.", 2) == 0);
    assert_int_equal(json_integer_value(at(document, "seed")), 7);
    assert_int_equal(json_integer_value(at(document, "threads")), 2);
    check_kernels(document);
    check_sides(at(document, "evaluation"));
    check_time(at(at(document, "evaluation"), "time_reduction"));
    json_decref(document);
    assert_int_equal(count_files(state), 1);
}

/* None of these may begin with the check, which prints first. */
static void refused_before_the_work(void **state)
{
    const char *folder = *state;
    const outcome *got = run("cd %s && " ADAMOE_PROGRAM " reproduce", folder);
    expect(got, 2, "datasets/tiny-adamoe: neither here nor installed with the program; run it in the project's folder");
    assert_null(strstr(got->text, "Quick check"));
    got = run(IN_PROJECT " --questions %s/none.jsonl", folder);
    expect(got, 2, "none.jsonl: open: ");
    assert_null(strstr(got->text, "Quick check"));
    got = run(IN_PROJECT " --json %s/no/r.json", folder);
    expect(got, 4, "no/r.json: create: No such file or directory");
    assert_null(strstr(got->text, "Quick check"));
    expect(run(IN_PROJECT " --seed 18446744073709551615 --json %s/r.json", folder), 2, "--seed: with --json");
    expect(run(IN_PROJECT " more"), 2, "`more': no argument is expected");
    assert_int_equal(count_files(state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_whole_run, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(refused_before_the_work, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

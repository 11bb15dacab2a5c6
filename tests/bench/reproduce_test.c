/*
 * adamoe reproduce as a user meets it: one whole run of the models that ship on some of the questions; the
 * comparison of models made here against what `adamoe eval' says of each; and what it refuses before the
 * work.
 */
#include "program.h"

#include <jansson.h>

#define IN_PROJECT "cd '" ADAMOE_SOURCE_DIR "' && " ADAMOE " reproduce"

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
    size_t kernels[2] = {0}; /* timed, and not */
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
        /* The client takes no bfloat16 weights, which are those that are timed. */
        const char *skipped = json_string_value(at(entry, "skipped"));
        assert_int_equal(json_array_size(at(entry, "timings")), skipped == NULL ? 4 : 0);
        ++kernels[skipped != NULL];
    }
    assert_true(kernels[0] > 0);
    assert_int_equal(kernels[1], 1);
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
    assert_true(json_is_false(at(vanilla, "weights_are_random")));
    assert_true(json_is_false(at(adaptive, "weights_are_random")));
    assert_true(json_is_false(at(evaluation, "weights_are_random")));
}

/* Each moment of the timed rounds belongs to one stage. */
static void check_stages(const json_t *side)
{
    const json_t *shares = at(at(side, "adamoe"), "stage_shares"), *share;
    const char *name = NULL;
    double all = 0.0;
    json_object_foreach((json_t *)(uintptr_t)shares, name, share)
    {
        assert_true(json_real_value(share) >= 0.0);
        all += json_real_value(share);
    }
    assert_true(fabs(all - 1.0) < 1e-9);
    assert_true(json_real_value(at(shares, "experts")) > 0.0 && json_real_value(at(shares, "head")) > 0.0);
}

static void check_time(const json_t *reduction)
{
    const double least = json_real_value(at(reduction, "least"));
    const double median = json_real_value(at(reduction, "median"));
    const double greatest = json_real_value(at(reduction, "greatest"));
    assert_true(least <= median && median <= greatest && greatest < 1.0);
    assert_true(least < greatest);
    const double low = json_real_value(at(reduction, "per_model_flops_reduction_low"));
    const double high = json_real_value(at(reduction, "per_model_flops_reduction_high"));
    const double centre = json_real_value(at(reduction, "per_model_flops_reduction"));
    assert_true(low < centre && centre < high);
}

static void a_whole_run(void **state)
{
    const folder_path file = in_folder(state, "r.json");
    const char *folder = *state;
    expect(run("head -n 40 '" SOURCE_PATH("datasets/wordnet/test.jsonl") "' > '%s/some.jsonl'", folder), 0,
           "");
    const outcome *got = run(
        IN_PROJECT
        " --seed 7 --threads 2 --check-every 50 --processes 3 --rounds 1 --questions '%s/some.jsonl' --json %s "
        "--command '\"" ADAMOE_CLIENTS "/remote_client\"'",
        folder, file.text);
    expect(got, 0, "on 40 questions of some");
    expect(got, 0, "stages, percent of top-2's time");
    json_t *document = load_json(file.text);
    assert_true(strncmp(json_string_value(at(document, "version")), "0.", 2) == 0);
    assert_int_equal(json_integer_value(at(document, "seed")), 7);
    assert_int_equal(json_integer_value(at(document, "threads")), 2);
    check_kernels(document);
    check_sides(at(document, "evaluation"));
    check_stages(at(at(document, "evaluation"), "vanilla"));
    check_stages(at(at(document, "evaluation"), "adamoe"));
    check_time(at(at(document, "evaluation"), "time_reduction"));
    json_decref(document);
    assert_int_equal(count_files(state), 2);
}

/* A top-2 model and one with null experts, fine-tuned for a few steps on the shipped
 * one, and 24 questions. */
static void make_models(void **state)
{
    const char *folder = *state;
    static const char train[] = ADAMOE " train --model " MODEL " --questions " QUESTIONS
                                       " --limit 8 --batch 4 --steps 6 --learning-rate 0.01 -o";
    expect(run("head -n 24 " QUESTIONS " > '%s/few.jsonl'", folder), 0, "");
    expect(run("%s '%s/top' --null-experts 0 --top-k 2", train, folder), 0, "step 6/6");
    expect(run("%s '%s/ada'", train, folder), 0, "step 6/6");
}

/* The predictions of `adamoe eval' for one of the models. */
static void read_right(void **state, const char *model, bool right[24])
{
    const char *folder = *state;
    expect(run(ADAMOE " eval --model '%s/%s' --questions '%s/few.jsonl' --samples '%s/%s.jsonl'", folder,
               model, folder, folder, model),
           0, "acc");
    char name[64];
    (void)snprintf(name, sizeof name, "%s.jsonl", model);
    FILE *file = fopen(in_folder(state, name).text, "r");
    assert_non_null(file);
    for (size_t i = 0; i < 24; ++i) {
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(line);
        right[i] = json_equal(at(line, "prediction"), at(line, "gold")) == 1;
        json_decref(line);
    }
    (void)fclose(file);
}

/* Everything that is not a time, a date or a verdict on time. */
static void drop_times(json_t *evaluation)
{
    static const char *const sides[] = {"vanilla", "adamoe", "untouched"};
    for (size_t i = 0; i < 3; ++i) {
        json_t *side = json_object_get(evaluation, sides[i]), *cost = json_object_get(side, "adamoe");
        (void)json_object_del(side, "date");
        (void)json_object_del(cost, "seconds");
        (void)json_object_del(cost, "questions_per_second");
        (void)json_object_del(cost, "tokens_per_second");
        (void)json_object_del(cost, "stage_seconds");
        (void)json_object_del(cost, "stage_shares");
    }
    (void)json_object_del(evaluation, "time_reduction");
    (void)json_object_del(evaluation, "conclusion");
}

static json_t *compare_models(void **state, const char *more)
{
    const char *folder = *state;
    const folder_path file = in_folder(state, "r.json");
    const outcome *got = run(IN_PROJECT " --evaluate-only --model '%s/ada' --baseline '%s/top' --questions "
                                        "'%s/few.jsonl' --json %s %s",
                             folder, folder, folder, file.text, more);
    expect(got, 0, "on 24 questions of few");
    expect(got, 0, "paper, AdaMoE     89.15 (1.81)");
    assert_null(strstr(got->text, "Quick check"));
    return load_json(file.text);
}

static void two_models_side_by_side(void **state)
{
    bool top[24], ada[24];
    json_int_t lost = 0, won = 0;
    make_models(state);
    read_right(state, "top", top);
    read_right(state, "ada", ada);
    for (size_t i = 0; i < 24; ++i) {
        lost += top[i] && !ada[i];
        won += ada[i] && !top[i];
    }
    json_t *document = compare_models(state, "--untouched " MODEL " --processes 4 --rounds 3");
    json_t *evaluation = at(document, "evaluation");
    const json_t *difference = at(evaluation, "acc_difference");
    assert_true(lost + won > 0);
    assert_int_equal(json_integer_value(at(difference, "lost")), lost);
    assert_int_equal(json_integer_value(at(difference, "won")), won);
    assert_true(json_real_value(at(at(at(evaluation, "vanilla"), "adamoe"), "load")) == 2.0);
    assert_true(json_real_value(at(at(at(evaluation, "adamoe"), "adamoe"), "load")) < 2.0);
    assert_int_equal(json_array_size(at(at(evaluation, "time_reduction"), "adamoe_seconds")), 12);
    const double p = json_real_value(at(difference, "mcnemar_p"));
    assert_non_null(strstr(json_string_value(at(evaluation, "conclusion")),
                           p < 0.05 ? ") is distinguishable from zero, that of acc_norm, "
                                    : ") is not distinguishable from zero, that of acc_norm, "));
    json_t *again = compare_models(state, "--untouched " MODEL " --threads 1 --processes 3 --rounds 1");
    assert_int_equal(json_array_size(at(at(at(again, "evaluation"), "time_reduction"), "vanilla_seconds")),
                     3);
    drop_times(evaluation);
    drop_times(at(again, "evaluation"));
    for (size_t i = 0; i < 3; ++i) {
        static const char *const sides[] = {"vanilla", "adamoe", "untouched"};
        (void)json_object_del(at(at(evaluation, sides[i]), "adamoe"), "threads");
        (void)json_object_del(at(at(at(again, "evaluation"), sides[i]), "adamoe"), "threads");
    }
    assert_true(json_equal(evaluation, at(again, "evaluation")));
    json_decref(again);
    json_decref(document);
}

static void models_that_cannot_be_compared(void **state)
{
    const char *folder = *state;
    static const char only[] = IN_PROJECT " --evaluate-only";
    make_models(state);
    expect(run("%s --model '%s/top'", only, folder), 2, "--model: ");
    expect(run("%s --model '%s/top'", only, folder), 2, "top: it has no null experts");
    expect(run("%s --baseline '%s/ada'", only, folder), 2, "ada: it has 8 null experts");
    expect(run("%s --baseline '%s/none'", only, folder), 2, "none/config.json: open: ");
    expect(run("%s --untouched '%s/none'", only, folder), 2, "none/config.json: open: ");
    expect(run("echo '{}' > '%s/bad.jsonl' && %s --questions '%s/bad.jsonl'", folder, only, folder), 2,
           "bad.jsonl: line 1: ");
    expect(run("sed 's/\\(\"num_hidden_layers\": *\\)[0-9]*/\\1 3/' '%s/top/config.json' > '%s/three.json' "
               "&& " ADAMOE " train --config '%s/three.json' --tokenizer " MODEL
               "/tokenizer.json --questions " QUESTIONS " --limit 4 --steps 1 -o '%s/three'",
               folder, folder, folder, folder),
           0, "step 1/1");
    expect(run("%s --baseline '%s/three'", only, folder), 2, "three: another architecture than that of ");
}

/* Loads that follow from the tie rule; the paper's counts; losses of which two are one. */
static void what_the_paper_says_itself(void **state)
{
    const folder_path file = in_folder(state, "claim.json");
    const outcome *got = run(IN_PROJECT " --claim --json %s", file.text);
    expect(got, 0,
           "258 right answers of 295 become 263, 5 questions; the standard error of the accuracy is 1.93");
    expect(got, 0, "from p = 0.0625, no right answer lost (5 questions differ), to p = 0.63");
    json_t *document = load_json(file.text);
    const json_t *loss = at(document, "balance_loss"), *row;
    assert_true(json_equal(at(loss, "switch"), at(loss, "released")));
    assert_true(fabs(json_real_value(at(loss, "switch")) - json_real_value(at(loss, "null_averaged"))) >
                0.01);
    size_t i;
    assert_int_equal(json_array_size(at(document, "conversions")), 10);
    json_array_foreach(at(document, "conversions"), i, row)
    {
        const json_int_t copies = json_integer_value(at(row, "null_experts")) / 8 + 1;
        const json_int_t k = json_integer_value(at(row, "top_k")), load = (k + copies - 1) / copies;
        assert_true(json_real_value(at(row, "load_lowest_index_first")) == (double)load);
        assert_true(fabs(json_real_value(at(row, "load_random_ties")) - (double)k / (double)copies) < 1e-15);
        assert_true(json_is_true(at(row, "keeps_top_2")) == (load == 2));
    }
    assert_int_equal(json_array_size(at(document, "flops")), 6);
    json_array_foreach(at(document, "flops"), i, row)
    {
        assert_true(fabs(json_real_value(at(row, "paper")) -
                         json_real_value(at(row, "model_flops_reduction"))) < 0.0003);
    }
    json_decref(document);
    expect(run(IN_PROJECT " --claim --model x"), 2, "--claim needs neither model nor questions");
    expect(run(IN_PROJECT " --claim --rounds 9"), 2, "--claim needs neither model nor questions");
    expect(run(IN_PROJECT " --rounds 21"), 2, "--rounds: `21' is not a whole number from 1 to 20");
    expect(run(IN_PROJECT " --processes 2"), 2, "--processes: `2' is not a whole number from 3 to 20");
}

/* None of these may begin with the check, which prints first. */
static void refused_before_the_work(void **state)
{
    const char *folder = *state;
    const outcome *got = run("cd %s && " ADAMOE " reproduce", folder);
    expect(
        got, 2,
        "datasets/tiny-adamoe: neither here nor installed with the program; run it in the project's folder");
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
        cmocka_unit_test_setup_teardown(two_models_side_by_side, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(models_that_cannot_be_compared, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_the_paper_says_itself, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(refused_before_the_work, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

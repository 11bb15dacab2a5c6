/*
 * adamoe compare: what counts as a regression, and what does not.
 */
#include "program.h"
#include "splitmix64.h"

#include <jansson.h>

#define COMPARE ADAMOE " compare"

static void write_json(void **state, const char *name, json_t *document)
{
    assert_non_null(document);
    assert_int_equal(json_dump_file(document, in_folder(state, name).text, 0), 0);
    json_decref(document);
}

static const outcome *compare(void **state, const char *options)
{
    const char *folder = *state;
    return run(COMPARE " %s/base.json %s/new.json %s", folder, folder, options);
}

/* -------------------------------------------------------------------------------------------------- check */

/* One kernel with two cases. */
static json_t *check(const char *first, const char *second, double ratio)
{
    json_t *results = json_pack("[{s:s,s:s,s:s}]", "case", "experts/d:1", "status", first, "tier", "bound");
    if (second != NULL) {
        json_array_append_new(results,
                              json_pack("{s:s,s:s,s:s}", "case", "a|b", "status", second, "tier", "bound"));
    }
    return json_pack("{s:i,s:[{s:s,s:s,s:n,s:f,s:o}]}", "seed", 1, "kernels", "kernel", "fast", "status",
                     "passed", "why_not", "largest_ratio", ratio, "results", results);
}

static void a_check_that_fails_now_is_one(void **state)
{
    write_json(state, "base.json", check("passed", "passed", 0.4));
    write_json(state, "new.json", check("passed", "passed", 0.4));
    expect(compare(state, ""), 0, "0 regressions, 0 missing");
    write_json(state, "new.json", check("passed", "failed", 0.4));
    expect(compare(state, ""), 1, "regression check    fast a|b: status passed -> failed");
    write_json(state, "new.json", check("vacuous", "passed", 0.4));
    expect(compare(state, ""), 1, "fast experts/d:1: status passed -> vacuous");
    write_json(state, "base.json", check("failed", "passed", 0.4));
    write_json(state, "new.json", check("failed", "passed", 0.4));
    expect(compare(state, ""), 0, "0 regressions");
    write_json(state, "new.json", check("passed", "passed", 0.4));
    expect(compare(state, ""), 0, "1 improved");
    write_json(state, "base.json", check("passed", NULL, 0.4));
    write_json(state, "new.json", check("passed", "failed", 0.4)); /* a new case */
    expect(compare(state, ""), 1, "nothing -> failed");
}

static void a_check_that_is_missing_is_said(void **state)
{
    write_json(state, "base.json", check("passed", "passed", 0.4));
    write_json(state, "new.json", check("passed", NULL, 0.4));
    expect(compare(state, ""), 0, "missing    check    fast a|b: status passed -> nothing");
    expect(compare(state, "--require-all"), 1, "0 regressions, 1 missing");
    write_json(state, "new.json",
               json_pack("{s:i,s:[{s:s,s:s,s:s}]}", "seed", 2, "kernels", "kernel", "fast", "status",
                         "skipped", "why_not", "no AVX2"));
    expect(compare(state, ""), 2, "not judged check    fast: status passed -> skipped; no AVX2");
    expect(compare(state, ""), 2, "different seeds");
}

static void a_larger_error_within_the_bound_is_shown(void **state)
{
    write_json(state, "base.json", check("passed", "passed", 0.40625));
    write_json(state, "new.json", check("passed", "passed", 0.71875));
    expect(compare(state, ""), 0, "largest error/bound 0.4062 -> 0.7188; grown");
}

/* Of a run beside other load. */
static json_t *disturbed(json_t *result)
{
    json_object_set_new(result, "environment", json_pack("{s:{s:b}}", "run", "disturbed", 1));
    return result;
}

static void load_is_no_news_of_a_check(void **state)
{
    write_json(state, "base.json", check("passed", "passed", 0.4));
    write_json(state, "new.json", disturbed(check("passed", "passed", 0.4)));
    const outcome *o = compare(state, "");
    expect(o, 0, "0 regressions, 0 missing");
    assert_null(strstr(o->text, "disturbed"));
}

/* -------------------------------------------------------------------------------------------------- bench */

#define MOST_REPETITIONS 64

/* One benchmark, its repetitions within two percent of `share` of the roofline, and a mean that lies. */
static json_t *bench(double flops, double share, size_t repetitions, uint64_t seed)
{
    adamoe_splitmix64 random = {seed};
    json_t *list = json_array();
    for (size_t i = 0; i < repetitions; ++i) {
        const double noise = 0.005 * adamoe_splitmix64_normal(&random);
        json_array_append_new(list, json_pack("{s:s,s:s,s:f,s:f,s:f,s:f}", "name", "layer/x", "run_type",
                                              "iteration", "real_time", 1.0, "executed_flops", flops, "load",
                                              1.67, "roofline_share", share * (1.0 + noise)));
    }
    json_array_append_new(list, json_pack("{s:s,s:s,s:f,s:f}", "name", "layer/x", "run_type", "aggregate",
                                          "executed_flops", 1.0, "roofline_share", 0.001));
    return json_pack("{s:{},s:o}", "context", "benchmarks", list);
}

static void work_is_compared_to_the_last_digit(void **state)
{
    write_json(state, "base.json", bench(1e15, 0.8, 12, 1));
    write_json(state, "new.json", bench(1e15, 0.8, 12, 2));
    expect(compare(state, ""), 0, "2 deterministic values unchanged");
    write_json(state, "new.json", bench(1e15 + 1.0, 0.8, 12, 2));
    expect(compare(state, ""), 1, "executed_flops 1000000000000000 -> 1000000000000001");
    write_json(state, "new.json", bench(1e15 - 2.0, 0.8, 12, 2)); /* less work is a change, too */
    expect(compare(state, ""), 1, "regression work     layer/x: executed_flops");
    json_t *unsteady = bench(1e15, 0.8, 12, 2);
    json_object_set_new(json_array_get(json_object_get(unsteady, "benchmarks"), 5), "executed_flops",
                        json_real(1.0));
    write_json(state, "new.json", unsteady);
    expect(compare(state, ""), 1, "differs between repetitions");
}

static void an_error_is_a_regression(void **state)
{
    write_json(state, "base.json", bench(1.0, 0.8, 1, 1));
    write_json(state, "new.json",
               json_pack("{s:[{s:s,s:b,s:s}]}", "benchmarks", "name", "layer/x", "error_occurred", 1,
                         "error_message", "wrong result at token 3"));
    expect(compare(state, ""), 1, "done -> error; wrong result at token 3");
    write_json(state, "new.json",
               json_pack("{s:[{s:s,s:b,s:s}]}", "benchmarks", "name", "layer/x", "error_occurred", 1,
                         "error_message", "cannot run here: no AVX-512"));
    expect(compare(state, ""), 2, "not judged work     layer/x");
    /* On the machine where it could run it must still be able to. */
    static const char *const names[] = {"base.json", "new.json"};
    for (size_t i = 0; i < 2; ++i) {
        json_t *result = json_load_file(in_folder(state, names[i]).text, 0, NULL);
        json_object_set_new(result, "environment", json_pack("{s:{s:s}}", "machine", "cpu", "one"));
        write_json(state, names[i], result);
    }
    expect(compare(state, ""), 2, "missing    work     layer/x");
    expect(compare(state, ""), 2, "nothing could be compared: cannot run here: no AVX-512");
    expect(compare(state, "--require-all"), 1, "1 missing");
    write_json(state, "new.json", json_pack("{s:[]}", "benchmarks"));
    expect(compare(state, "--require-all"), 1, "layer/x: result done -> nothing");
}

static void speed_needs_significance_and_size(void **state)
{
    write_json(state, "base.json", bench(1.0, 0.8, 12, 1));
    write_json(state, "new.json", bench(1.0, 0.8 / 1.05, 12, 2));
    expect(compare(state, ""), 1, "regression speed    layer/x: time 1.0");
    expect(compare(state, "--minimum-effect 0.1"), 0, "below the minimum effect");
    write_json(state, "new.json", bench(1.0, 0.8 * 1.05, 12, 2));
    expect(compare(state, ""), 0, "improved   speed    layer/x: time 0.95");
    write_json(state, "new.json", bench(1.0, 0.8 / 1.02, 12, 2));
    expect(compare(state, ""), 0, "below the minimum effect");
    write_json(state, "new.json", bench(1.0, 0.8, 12, 2));
    expect(compare(state, ""), 0, "not distinguishable");
    write_json(state, "new.json", bench(1.0, 0.8 / 1.5, 2, 2)); /* 2 / C(14, 2) > 0.01 */
    expect(compare(state, "--alpha 0.01"), 0, "too few repetitions: p cannot be below 0.022");
}

static void load_is_news_of_a_bench(void **state)
{
    write_json(state, "base.json", bench(1.0, 0.8, 12, 1));
    write_json(state, "new.json", disturbed(bench(1.0, 0.8, 12, 2)));
    expect(compare(state, ""), 0, "The new run was disturbed by other load.");
}

static void bare_times_are_not_judged(void **state)
{
    write_json(state, "base.json", json_pack("{s:[{s:s,s:f}]}", "benchmarks", "name", "x", "real_time", 1.0));
    write_json(state, "new.json", json_pack("{s:[{s:s,s:f}]}", "benchmarks", "name", "x", "real_time", 9.0));
    expect(compare(state, ""), 2, "not judged speed    x: time; no yardstick");
    expect(compare(state, ""), 2, "nothing could be compared");
}

/* --------------------------------------------------------------------------------------------------- eval */

static json_t *eval(double accuracy, double error, int flops, int top_k)
{
    return json_pack("{s:{s:{s:f,s:f}},s:{s:i},s:{s:f,s:[f,f],s:{s:i}}}", "results", "arc", "acc,none",
                     accuracy, "acc_stderr,none", error, "config", "top_k", top_k, "adamoe", "load", 1.5,
                     "load_by_layer", 1.25, 1.75, "executed_flops", "experts", flops);
}

/* `right` of 40 questions are answered by their gold, which is the first choice. `prefix` begins the ids,
 * `repeats` ids come twice in a row. */
static void write_log(void **state, const char *name, const char *prefix, size_t right, size_t repeats,
                      int gold)
{
    char text[8192] = "";
    for (size_t q = 0; q < 40; ++q) {
        char line[160];
        (void)snprintf(line, sizeof line,
                       "{\"id\":\"%s%zu\",\"logprob\":[-1,-2],\"prediction\":%d,\"prediction_norm\":%d,"
                       "\"gold\":%d}\n",
                       prefix, repeats > 0 && q < 2 * repeats ? q / 2 : q, q < right ? gold : 1 - gold,
                       1 - gold, gold);
        strcat(text, line);
    }
    write_text(in_folder(state, name).text, text);
}

static void write_samples(void **state, const char *name, size_t right)
{
    write_log(state, name, "", right, 0, 0);
}

static void answers_are_paired_by_question(void **state)
{
    const char *folder = *state;
    char logs[512];
    (void)snprintf(logs, sizeof logs, "--base-samples %s/a --new-samples %s/b", folder, folder);
    write_json(state, "base.json", eval(0.75, 0.07, 100, 3));
    write_json(state, "new.json", eval(0.525, 0.08, 100, 3));
    write_samples(state, "a", 30);
    write_samples(state, "b", 21);
    /* 2 / 2^9, times two tests */
    expect(compare(state, logs), 1, "acc, 40 questions, 9 lost, 0 won 75.00 % -> 52.50 %, -22.50 points");
    expect(compare(state, logs), 1, "p 0.0078");
    expect(compare(state, ""), 1, "acc, unpaired 75.00 % -> 52.50 %");
    write_json(state, "new.json", eval(0.6, 0.07, 100, 3));
    write_samples(state, "b", 24); /* 2 / 2^6 would do alone, and does not for two */
    expect(compare(state, logs), 0, "6 lost, 0 won 75.00 % -> 60.00 %, -15.00 points");
    expect(compare(state, logs), 0, "p 0.06");
    write_json(state, "new.json", eval(0.65, 0.07, 100, 3));
    write_samples(state, "b", 26); /* 2 / 2^4 */
    expect(compare(state, logs), 0, "4 lost, 0 won");
    expect(compare(state, ""), 0, "acc, unpaired 75.00 % -> 65.00 %");
    write_text(in_folder(state, "b").text, "{\"id\":\"0\",\"prediction\":1,\"gold\":0}\n{\"id\":\n");
    expect(compare(state, logs), 2, "b: sample 2: line 1");
    write_log(state, "b", "elsewhere-", 26, 0, 0);
    expect(compare(state, logs), 2, "no question in common");
}

/* As write_log; each id stands there `copies` times, at equal distances. Golds differ within an id. */
static void write_copies(void **state, const char *name, size_t copies, size_t right)
{
    char text[8192] = "";
    for (size_t q = 0; q < 40; ++q) {
        char line[160];
        const int gold = (int)(q * copies / 40 % 2);
        (void)snprintf(line, sizeof line,
                       "{\"id\":\"%zu\",\"prediction\":%d,\"prediction_norm\":%d,\"gold\":%d}\n",
                       q % (40 / copies), q < right ? gold : 1 - gold, 1 - gold, gold);
        strcat(text, line);
    }
    write_text(in_folder(state, name).text, text);
}

/* Logs of questions without an id count them from 0; two such logs in one file repeat every id. */
static void repeated_ids_are_paired_in_order(void **state)
{
    const char *folder = *state;
    char logs[512];
    (void)snprintf(logs, sizeof logs, "--base-samples %s/a --new-samples %s/b", folder, folder);
    write_json(state, "base.json", eval(0.525, 0.07, 100, 3));
    write_json(state, "new.json", eval(0.525, 0.07, 100, 3));
    static const size_t repeats[] = {1, 2, 7, 13, 20};
    for (size_t i = 0; i < sizeof repeats / sizeof *repeats; ++i) {
        write_log(state, "a", "", 21, repeats[i], 0);
        write_log(state, "b", "", 21, repeats[i], 0);
        expect(compare(state, logs), 0, "acc, 40 questions, 0 lost, 0 won");
    }
    /* Two logs of 20 questions, one after the other, all of one id; one log twice; 39 copies of one line. */
    for (size_t copies = 2; copies <= 40; copies *= copies < 8 ? 2 : 5) {
        write_copies(state, "a", copies, 21);
        write_copies(state, "b", copies, 21);
        expect(compare(state, logs), 0, "acc, 40 questions, 0 lost, 0 won");
    }
    /* Answers that differ are counted where they stand, and the i-th has the gold of the i-th. */
    write_copies(state, "b", 40, 18);
    write_json(state, "new.json", eval(0.45, 0.07, 100, 3));
    expect(compare(state, logs), 0, "acc, 40 questions, 3 lost, 0 won");
    /* One that is there once and twice leaves two without a partner. */
    write_log(state, "a", "", 21, 0, 0);
    write_log(state, "b", "", 18, 1, 0);
    expect(
        compare(state, logs), 0,
        "arc: not the same questions: 1 of the base's 40 samples and 1 of the new run's 40 have no partner");
    expect(compare(state, logs), 0, "acc, 39 questions, ");
}

static json_t *norm_of(json_t *result, double accuracy)
{
    json_object_set_new(json_object_get(json_object_get(result, "results"), "arc"), "acc_norm,none",
                        json_real(accuracy));
    return result;
}

static void samples_must_be_those_of_their_result(void **state)
{
    const char *folder = *state;
    char logs[512];
    (void)snprintf(logs, sizeof logs, "--base-samples %s/a --new-samples %s/b", folder, folder);
    write_json(state, "base.json", eval(0.75, 0.07, 100, 3));
    write_json(state, "new.json", eval(0.525, 0.08, 100, 3));
    write_samples(state, "a", 21); /* swapped */
    write_samples(state, "b", 30);
    expect(compare(state, logs), 2, "/a: not the samples of the result: 21 of 40 are right by acc, but");
    write_samples(state, "a", 30); /* left over from another run */
    expect(compare(state, logs), 2, "/b: not the samples of the result: 30 of 40");
    write_log(state, "b", "", 21, 0, 1); /* the answers changed */
    expect(compare(state, logs), 2, "/b: question 0: gold is 1, but 0 in ");
    write_text(in_folder(state, "b").text,
               "{\"id\":\"0\",\"prediction\":0,\"prediction_norm\":0,\"gold\":\"A\"}\n");
    expect(compare(state, logs), 2, "/b: sample 1: gold: not a whole number");
    write_text(in_folder(state, "b").text, "{\"prediction\":0,\"prediction_norm\":0,\"gold\":0}\n");
    expect(compare(state, logs), 2, "/b: sample 1: id: not a text");

    write_text(in_folder(state, "b").text, "\n"); /* of a run that was interrupted */
    expect(compare(state, logs), 2, "/b: ");
    write_json(state, "new.json", eval(0.525, 0.08, 100, 3));
    expect(run(COMPARE " %s/base.json %s/new.json --base-samples %s/a --new-samples %s/new.json", folder,
               folder, folder, folder),
           2, "/new.json: sample 1: ");
    write_json(state, "new.json", norm_of(eval(0.525, 0.08, 100, 3), 0.25)); /* right by acc alone */
    write_log(state, "b", "", 21, 0, 0);
    expect(compare(state, logs), 2, "/b: not the samples of the result: 0 of 40 are right by acc_norm");
    json_t *scored = eval(0.525, 0.08, 100, 3); /* fewer lines than questions */
    json_object_set_new(scored, "n-samples",
                        json_pack("{s:{s:i,s:i}}", "arc", "original", 300, "effective", 60));
    write_json(state, "new.json", scored);
    write_samples(state, "b", 21);
    expect(compare(state, logs), 2, "/b: not the samples of the result: 40 lines, but 60 questions of arc");
}

static void other_questions_are_said_first(void **state)
{
    json_t *base = eval(0.75, 0.07, 100, 3), *now = eval(0.75, 0.07, 100, 3);
    json_object_set_new(base, "n-samples",
                        json_pack("{s:{s:i,s:i}}", "arc", "original", 300, "effective", 60));
    json_object_set_new(now, "n-samples",
                        json_pack("{s:{s:i,s:i}}", "arc", "original", 300, "effective", 40));
    write_json(state, "base.json", base);
    write_json(state, "new.json", now);
    const outcome *got = compare(state, "");
    expect(got, 0, "arc: not the same questions: the base scored 60 of 300, the new run 40 of 300.\n");
    assert_ptr_equal(strstr(got->text, "arc: not the same"), got->text);
}

static void load_and_flops_are_deterministic(void **state)
{
    write_json(state, "base.json", eval(0.5, 0.1, 100, 3));
    write_json(state, "new.json", eval(0.5, 0.1, 101, 3));
    expect(compare(state, ""), 1, "arc: executed_flops.experts 100 -> 101");
    write_json(state, "new.json", eval(0.5, 0.1, 101, 4)); /* another experiment */
    expect(compare(state, ""), 0, "the options of the two runs differ");
}

/* A run over two ranks, whose second one sent so many bytes. */
static json_t *over_ranks(const char *experts, json_int_t bytes, bool resumed)
{
    json_t *all = eval(0.5, 0.1, 100, 3), *cost = json_object_get(all, "adamoe");
    json_object_set_new(cost, "kernel", json_string("avx2-f32"));
    json_object_set_new(cost, "communication",
                        json_pack("{s:i,s:s,s:n,s:i,s:s,s:i,s:I,s:f,s:[{s:i},{s:I,s:f}]}", "ranks", 2,
                                  "experts", experts, "recording", "batch_tokens", 4096, "inputs_travel_as",
                                  "float32", "rows_sent", 7, "bytes", bytes + 500, "kept_share", 0.5,
                                  "by_rank", "bytes_sent", 500, "bytes_sent", bytes, "waiting_seconds",
                                  (double)bytes));
    if (resumed) {
        json_object_set_new(cost, "questions_resumed", json_integer(3));
    }
    return all;
}

static void what_travels_is_deterministic(void **state)
{
    write_json(state, "base.json", over_ranks("block", 600, false));
    write_json(state, "new.json", over_ranks("block", 600, false));
    expect(compare(state, ""), 0, "0 regressions");
    write_json(state, "new.json", over_ranks("block", 596, false)); /* fewer, too: it is another protocol */
    expect(compare(state, ""), 1, "regression work     arc: bytes 1100 -> 1096");
    expect(compare(state, ""), 1, "arc: rank 1, bytes_sent 600 -> 596");
    write_json(state, "new.json", over_ranks("turn", 596, false));
    expect(compare(state, ""), 0, "ranks, places of experts, kernel or --batch-tokens differ");
    expect(compare(state, ""), 0, "same       work     arc: bytes 1100 -> 1096");
    write_json(state, "new.json", over_ranks("block", 596, true));
    expect(compare(state, ""), 0, "a run that went on has counted its own part alone");
    write_json(state, "new.json", eval(0.5, 0.1, 100, 3));
    expect(compare(state, ""), 0, "the new run was on one");
}

/* -------------------------------------------------------------------------------------------------- files */

static void what_cannot_be_compared_is_an_error(void **state)
{
    const char *folder = *state;
    write_json(state, "base.json", check("passed", NULL, 0.4));
    write_json(state, "new.json", bench(1.0, 0.8, 1, 1));
    expect(compare(state, ""), 2, "new.json: a result of bench, where ");
    write_json(state, "new.json", json_object());
    expect(compare(state, ""), 2, "new.json: no result of check, bench, eval or gate");
    write_text(in_folder(state, "new.json").text, "{\"kernels\": [");
    expect(compare(state, ""), 2, "new.json: line 1");
    expect(run(COMPARE " %s/base.json %s/none", folder, folder), 2, "none: open: No such file");
    expect(run(COMPARE " %s/base.json", folder), 2, "two results are compared");
    expect(compare(state, "--base-samples x"), 2, "belong together");
    expect(compare(state, "--alpha 1"), 2, "not between 0 and 1");
}

/* The verdict is the exit code even where it is also written. */
static void reports_are_whole_or_not_there(void **state)
{
    const char *folder = *state;
    char options[1024];
    size_t size;
    write_json(state, "base.json", check("passed", "passed", 0.4));
    write_json(state, "new.json", check("passed", "failed", 0.4));
    (void)snprintf(options, sizeof options, "--markdown %s/m.md --json %s/c.json", folder, folder);
    expect(compare(state, options), 1, "1 regression, 0 missing");
    char *text = read_bytes(in_folder(state, "m.md").text, &size);
    assert_non_null(strstr(text, "### adamoe compare: regression\n"));
    assert_non_null(strstr(text, "| **regression** | check | fast a\\|b | status | passed -> failed |"));
    free(text);
    json_t *document = json_load_file(in_folder(state, "c.json").text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(document, "regressions")), 1);
    json_decref(document);
    expect(compare(state, "--json /nowhere/c.json"), 4, "/nowhere/c.json");
    const folder_path full = full_device(state);
    const size_t files = count_files(state);
    (void)snprintf(options, sizeof options, "--markdown %s", full.text);
    expect(compare(state, options), 4, "write: No space left");
    (void)snprintf(options, sizeof options, "--json %s", full.text);
    expect(compare(state, options), 4, "write: No space left");
    assert_int_equal(count_files(state), files);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_check_that_fails_now_is_one),
        TEST(a_check_that_is_missing_is_said),
        TEST(a_larger_error_within_the_bound_is_shown),
        TEST(load_is_no_news_of_a_check),
        TEST(work_is_compared_to_the_last_digit),
        TEST(an_error_is_a_regression),
        TEST(speed_needs_significance_and_size),
        TEST(load_is_news_of_a_bench),
        TEST(bare_times_are_not_judged),
        TEST(answers_are_paired_by_question),
        TEST(repeated_ids_are_paired_in_order),
        TEST(samples_must_be_those_of_their_result),
        TEST(other_questions_are_said_first),
        TEST(load_and_flops_are_deterministic),
        TEST(what_travels_is_deterministic),
        TEST(what_cannot_be_compared_is_an_error),
        TEST(reports_are_whole_or_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

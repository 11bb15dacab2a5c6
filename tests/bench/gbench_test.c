/*
 * Google Benchmark through C: what a report holds, and that it stays JSON. Everything is registered once, and
 * every test runs a part of it.
 */
#include "test.h"
#include "gbench/gbench.h"

#include <jansson.h>

enum { REPETITIONS = 3 };

typedef struct counted {
    size_t selected, reported;
    size_t repetition[8];
} counted;

static counted plain, with_counters, skipping;

static void select_it(void *context)
{
    ++((counted *)context)->selected;
}

static void note(counted *c, size_t repetition)
{
    c->repetition[c->reported++ % 8] = repetition;
}

static void report_plainly(gbench_state *state, void *context, size_t repetition)
{
    note(context, repetition);
    gbench_time(state, 0.001 * (double)(repetition + 1));
    gbench_label(state, "a word");
}

static void report_counters(gbench_state *state, void *context, size_t repetition)
{
    note(context, repetition);
    gbench_time(state, 0.5);
    gbench_counter(state, "constant", 0.25);
    gbench_counter(state, "zero", 0.0); /* whose coefficient of variation may be not a number */
    gbench_counter(state, "not_a_number", NAN);
    gbench_counter(state, "infinite", INFINITY);
}

static void skip_at_once(gbench_state *state, void *context, size_t repetition)
{
    note(context, repetition);
    gbench_skip(state, "no such \"machine\"");
}

static int register_all(void **state)
{
    (void)state;
    const gbench_functions plainly = {select_it, report_plainly}, counting = {NULL, report_counters},
                           skips = {select_it, skip_at_once};
    return gbench_register("family/plain/tokens:1", &plainly, &plain, REPETITIONS) &&
                   gbench_register("family/counters", &counting, &with_counters, REPETITIONS) &&
                   gbench_register("family/skipping", &skips, &skipping, 1) &&
                   gbench_describe("flavour", "vanilla")
               ? 0
               : -1;
}

/* Runs with the given flags, at most two; the report is to be freed. */
static gbench_result run(const char *first, const char *second, gbench_report *report)
{
    char name[] = "gbench_test", time[] = "--benchmark_min_time=0.001", quiet[] = "--benchmark_format=json";
    char a[128], b[128];
    (void)snprintf(a, sizeof a, "%s", first);
    (void)snprintf(b, sizeof b, "%s", second == NULL ? "" : second);
    char *arguments[] = {name, time, quiet, a, b, NULL};
    return gbench_run(second == NULL ? 4 : 5, arguments, report);
}

/* The entries of a report on the benchmarks that match. */
static json_t *run_matching(const char *filter)
{
    gbench_report report;
    char flag[128];
    (void)snprintf(flag, sizeof flag, "--benchmark_filter=%s", filter);
    plain = with_counters = skipping = (counted){0};
    assert_int_equal(run(flag, "--benchmark_out=anywhere", &report), GBENCH_DONE);
    assert_int_equal(strlen(report.text), report.length);
    json_error_t error;
    json_t *document = json_loads(report.text, 0, &error);
    if (document == NULL) {
        fail_msg("%s in: %s", error.text, report.text);
    }
    gbench_report_free(&report);
    json_t *entries = json_incref(json_object_get(document, "benchmarks"));
    assert_string_equal(json_string_value(json_object_get(json_object_get(document, "context"), "flavour")),
                        "vanilla");
    json_decref(document);
    assert_int_not_equal(access("anywhere", F_OK), 0); /* the file is the caller's to write */
    return entries;
}

static const char *text_of(const json_t *entry, const char *key)
{
    return json_string_value(json_object_get(entry, key));
}

static void times_are_those_given(void **state)
{
    (void)state;
    json_t *entries = run_matching("plain");
    assert_int_equal(json_array_size(entries), REPETITIONS + 4); /* mean, median, stddev, cv */
    for (size_t i = 0; i < REPETITIONS; ++i) {
        const json_t *entry = json_array_get(entries, i);
        assert_string_equal(text_of(entry, "name"), "family/plain/tokens:1");
        assert_string_equal(text_of(entry, "run_name"), "family/plain/tokens:1");
        assert_string_equal(text_of(entry, "label"), "a word");
        assert_string_equal(text_of(entry, "time_unit"), "ns");
        assert_int_equal(json_integer_value(json_object_get(entry, "repetition_index")), i);
        const double nanoseconds = json_real_value(json_object_get(entry, "real_time"));
        assert_true(fabs(nanoseconds / (1e6 * (double)(i + 1)) - 1.0) < 1e-12);
        assert_int_equal(plain.repetition[i], i);
    }
    assert_string_equal(text_of(json_array_get(entries, REPETITIONS + 1), "name"),
                        "family/plain/tokens:1_median");
    assert_int_equal(plain.selected, 1);
    assert_int_equal(plain.reported, REPETITIONS);
    assert_int_equal(skipping.selected, 0); /* what the filter leaves out is not */
    json_decref(entries);
}

static void counters_are_numbers(void **state)
{
    (void)state;
    json_t *entries = run_matching("counters");
    assert_int_equal(json_array_size(entries), REPETITIONS + 4);
    for (size_t i = 0; i < REPETITIONS; ++i) {
        const json_t *entry = json_array_get(entries, i);
        assert_true(json_real_value(json_object_get(entry, "constant")) == 0.25);
        assert_true(json_real_value(json_object_get(entry, "zero")) == 0.0);
        assert_null(json_object_get(entry, "not_a_number"));
        assert_null(json_object_get(entry, "infinite"));
    }
    const json_t *variation = json_array_get(entries, REPETITIONS + 3);
    assert_string_equal(text_of(variation, "aggregate_name"), "cv");
    assert_true(json_real_value(json_object_get(variation, "constant")) == 0.0);
    /* Of values that are all zero: 0 / 0 to 1.7, and 0 to 1.9. */
    const json_t *zero = json_object_get(variation, "zero");
    assert_true(zero == NULL || json_number_value(zero) == 0.0);
    json_decref(entries);
}

static void a_skipped_run_says_why(void **state)
{
    (void)state;
    json_t *entries = run_matching("skipping");
    const json_t *entry = json_array_get(entries, 0);
    assert_true(json_is_true(json_object_get(entry, "error_occurred")));
    assert_string_equal(text_of(entry, "error_message"), "no such \"machine\"");
    json_decref(entries);
    assert_int_equal(skipping.selected, 1);
    assert_int_equal(skipping.reported, 1);
}

static void other_formats_and_no_file(void **state)
{
    (void)state;
    gbench_report report;
    assert_int_equal(run("--benchmark_filter=plain", NULL, &report), GBENCH_DONE);
    assert_null(report.text);
    char name[] = "gbench_test", filter[] = "--benchmark_filter=plain", out[] = "--benchmark_out=x",
         format[] = "--benchmark_out_format=csv", time[] = "--benchmark_min_time=0.001";
    char *arguments[] = {name, filter, out, format, time, NULL};
    assert_int_equal(gbench_run(5, arguments, &report), GBENCH_DONE);
    assert_non_null(strstr(report.text, "\"family/plain/tokens:1\","));
    gbench_report_free(&report);
}

/* Seconds with a unit and without one, whichever of the two the library wants, and not a word from it. */
static void seconds_in_either_form(void **state)
{
    (void)state;
    static const char *const forms[] = {"--benchmark_min_time=0.001", "--benchmark_min_time=0.001s"};
    for (size_t i = 0; i < 2; ++i) {
        char path[] = "/tmp/gbench_test.XXXXXX";
        const int file = mkstemp(path), before = dup(STDERR_FILENO);
        assert_true(file >= 0 && before >= 0);
        (void)fflush(stderr);
        assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
        gbench_report report;
        char name[] = "gbench_test", filter[] = "--benchmark_filter=plain", seconds[64];
        (void)snprintf(seconds, sizeof seconds, "%s", forms[i]);
        char *arguments[] = {name, filter, seconds, NULL};
        const gbench_result result = gbench_run(3, arguments, &report);
        (void)fflush(stderr);
        assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
        assert_int_equal(result, GBENCH_DONE);
        assert_int_equal(lseek(file, 0, SEEK_END), 0);
        (void)close(before);
        (void)close(file);
        (void)unlink(path);
    }
}

static void expect_refusal(const char *flag, gbench_result expected, const char *part)
{
    gbench_report report;
    assert_int_equal(run(flag, NULL, &report), expected);
    assert_null(report.text);
    assert_non_null(strstr(report.message, part));
}

static void wrong_flags_are_refused(void **state)
{
    (void)state;
    expect_refusal("--benchmark_no_such_flag=1", GBENCH_BAD_FLAG, "--benchmark_no_such_flag=1");
    expect_refusal("--benchmark_out_format=xml", GBENCH_BAD_FLAG, "--benchmark_out_format=xml");
    expect_refusal("--benchmark_time_unit=weeks", GBENCH_BAD_FLAG, "--benchmark_time_unit=weeks");
    expect_refusal("--benchmark_filter=nothing_like_it", GBENCH_NO_MATCH, "leaves nothing to run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_those_given),  cmocka_unit_test(counters_are_numbers),
        cmocka_unit_test(a_skipped_run_says_why), cmocka_unit_test(other_formats_and_no_file),
        cmocka_unit_test(seconds_in_either_form), cmocka_unit_test(wrong_flags_are_refused),
    };
    return cmocka_run_group_tests(tests, register_all, NULL);
}

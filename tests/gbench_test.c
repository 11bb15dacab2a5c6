/*
 * Google Benchmark through C: what a report holds, and that it stays JSON. The library keeps what was
 * registered for the whole process, so everything is registered once, and every test runs a part of it.
 */
#include "test.h"
#include "gbench/gbench.h"

#include <jansson.h>

typedef struct counted {
    size_t prepared, iterated, finished;
} counted;

static counted plain, with_counters, skipping, breaking;

static void prepare(gbench_state *state, void *context)
{
    (void)state;
    ++((counted *)context)->prepared;
}

static void iterate(gbench_state *state, void *context)
{
    (void)state;
    ++((counted *)context)->iterated;
}

static void finish(gbench_state *state, void *context)
{
    ++((counted *)context)->finished;
    gbench_label(state, "a word");
}

static void set_counters(gbench_state *state, void *context)
{
    (void)context;
    gbench_counter(state, "constant", 0.25);
    gbench_rate(state, "rate", 1000.0);
    gbench_counter(state, "not_a_number", NAN);
    gbench_counter(state, "infinite", INFINITY);
    gbench_rate(state, "infinite_rate", -INFINITY);
}

static void skip_at_once(gbench_state *state, void *context)
{
    ++((counted *)context)->prepared;
    gbench_skip(state, "no such \"machine\"");
}

static void break_off(gbench_state *state, void *context)
{
    ++((counted *)context)->iterated;
    gbench_skip(state, "broken");
}

static int register_all(void **state)
{
    (void)state;
    const gbench_functions plainly = {prepare, iterate, finish};
    const gbench_functions counting = {NULL, iterate, set_counters};
    const gbench_functions skips = {skip_at_once, iterate, finish};
    const gbench_functions breaks = {NULL, break_off, finish};
    return gbench_register("family/plain/tokens:1", &plainly, &plain) &&
                   gbench_register("family/counters", &counting, &with_counters) &&
                   gbench_register("family/skipping", &skips, &skipping) &&
                   gbench_register("family/breaking", &breaks, &breaking) &&
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

/* The one entry of a report on the benchmarks that match. */
static json_t *run_one(const char *filter)
{
    gbench_report report;
    char flag[128];
    (void)snprintf(flag, sizeof flag, "--benchmark_filter=%s", filter);
    assert_int_equal(run(flag, "--benchmark_out=anywhere", &report), GBENCH_DONE);
    assert_int_equal(strlen(report.text), report.length);
    json_error_t error;
    json_t *document = json_loads(report.text, 0, &error);
    if (document == NULL) {
        fail_msg("%s in: %s", error.text, report.text);
    }
    gbench_report_free(&report);
    json_t *entries = json_object_get(document, "benchmarks");
    assert_int_equal(json_array_size(entries), 1);
    assert_string_equal(json_string_value(json_object_get(json_object_get(document, "context"), "flavour")),
                        "vanilla");
    json_t *entry = json_incref(json_array_get(entries, 0));
    json_decref(document);
    assert_int_not_equal(access("anywhere", F_OK), 0); /* the file is the caller's to write */
    return entry;
}

static void a_name_is_left_as_it_is(void **state)
{
    (void)state;
    json_t *entry = run_one("plain");
    assert_string_equal(json_string_value(json_object_get(entry, "name")), "family/plain/tokens:1");
    assert_string_equal(json_string_value(json_object_get(entry, "run_name")), "family/plain/tokens:1");
    assert_string_equal(json_string_value(json_object_get(entry, "label")), "a word");
    assert_true(json_real_value(json_object_get(entry, "real_time")) > 0.0);
    const size_t iterations = (size_t)json_integer_value(json_object_get(entry, "iterations"));
    /* runs of growing length before the reported one, unless the machine was busy during the first */
    assert_true(plain.prepared > 0);
    assert_int_equal(plain.prepared, plain.finished);
    assert_true(plain.iterated >= iterations + plain.prepared - 1);
    json_decref(entry);
}

static void counters_are_numbers(void **state)
{
    (void)state;
    json_t *entry = run_one("counters");
    assert_true(json_real_value(json_object_get(entry, "constant")) == 0.25);
    const double rate = json_real_value(json_object_get(entry, "rate"));
    const double time = json_real_value(json_object_get(entry, "real_time"));
    assert_string_equal(json_string_value(json_object_get(entry, "time_unit")), "ns");
    assert_true(fabs(rate * time * 1e-9 / 1000.0 - 1.0) < 1e-6); /* per second of real time */
    assert_null(json_object_get(entry, "not_a_number"));
    assert_null(json_object_get(entry, "infinite"));
    assert_null(json_object_get(entry, "infinite_rate"));
    json_decref(entry);
}

static void a_skipped_run_says_why(void **state)
{
    (void)state;
    json_t *entry = run_one("skipping");
    assert_true(json_is_true(json_object_get(entry, "error_occurred")));
    assert_string_equal(json_string_value(json_object_get(entry, "error_message")), "no such \"machine\"");
    json_decref(entry);
    assert_int_equal(skipping.prepared, 1);
    assert_int_equal(skipping.iterated, 0);
    assert_int_equal(skipping.finished, 0);

    entry = run_one("breaking");
    assert_string_equal(json_string_value(json_object_get(entry, "error_message")), "broken");
    json_decref(entry);
    assert_int_equal(breaking.iterated, 1);
    assert_int_equal(breaking.finished, 0);
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
        cmocka_unit_test(a_name_is_left_as_it_is), cmocka_unit_test(counters_are_numbers),
        cmocka_unit_test(a_skipped_run_says_why),  cmocka_unit_test(other_formats_and_no_file),
        cmocka_unit_test(wrong_flags_are_refused),
    };
    return cmocka_run_group_tests(tests, register_all, NULL);
}

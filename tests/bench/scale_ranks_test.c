/*
 * `adamoe scale` under mpirun: a calibration over ranks has all its parts, and predictions read it; what several ranks
 * cannot ask for is said once. Left out: whether the times are right, which a shared machine cannot test.
 */
#include "bench/ranks.h"

#include <jansson.h>

#define SCALE ADAMOE " scale --preset tiny --threads 1 "

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("no number %s", key);
    }
    return json_number_value(value);
}

static void check_document(const json_t *document)
{
    const json_t *network = json_object_get(document, "network"),
                 *kernel = json_object_get(document, "kernel");
    size_t i, layers = 0, messages = 0;
    const json_t *check;
    assert_true(number(network, "ranks") == 3.0);
    assert_true(number(network, "latency_seconds") > 0.0 && number(network, "latency_seconds") < 1.0);
    assert_true(number(network, "bytes_per_second") > 0.0);
    assert_true(number(kernel, "threads") == 1.0);
    assert_true(number(kernel, "expert_bytes") == 3.0 * 64.0 * 96.0 * 4.0);
    assert_true(number(kernel, "experts_in_turn") == 3.0); /* the most that one of 3 ranks has of 8 */
    assert_true(number(kernel, "ranks_per_processor") >= 1.0);
    assert_true(json_array_size(json_object_get(kernel, "points")) > 0);
    json_array_foreach(json_object_get(document, "checks"), i, check)
    {
        const char *what = json_string_value(json_object_get(check, "what"));
        layers += strncmp(what, "layer, 3 ranks, 4 tokens of each", 32) == 0;
        messages += strstr(what, "to and from each of 2 others") != NULL;
        assert_true(number(check, "predicted") > 0.0 && number(check, "measured") > 0.0);
    }
    assert_true(messages >= 4);
    assert_int_equal(layers, 4); /* with null experts and without, with overlap and without */
    const json_t *reduction = json_array_get(json_object_get(document, "measured_reductions"), 0);
    assert_true(number(reduction, "tokens") == 4.0 && number(reduction, "ranks") == 3.0);
    assert_true(number(reduction, "pairs") >= 8.0); /* enough for an interval */
    const json_t *bytes = json_object_get(reduction, "bytes_reduction"),
                 *time = json_object_get(reduction, "time_reduction");
    assert_true(number(bytes, "low") <= number(bytes, "centre") &&
                number(bytes, "centre") <= number(bytes, "high"));
    assert_true(number(time, "low") <= number(time, "centre") &&
                number(time, "centre") <= number(time, "high"));
    /* Of the four of each number of tokens one was fitted to; a machine that is quick comes to more than one number. */
    assert_true(number(json_object_get(document, "judged"), "runs") ==
                3.0 * (double)json_array_size(json_object_get(document, "measured_reductions")));
}

static void ranks_are_calibrated(void **state)
{
    SKIP_WITHOUT_MPI;
    const char *path = in_folder(state, "c.json").text;
    expect(run(MPIRUN " -n 3 " SCALE "--longest 0.0001 --budget 1 --calibrate %s", path), 0, "Plan: ");
    json_t *document = json_load_file(path, 0, NULL);
    assert_non_null(document);
    check_document(document);
    json_decref(document);
    expect(run(ADAMOE " scale --preset tiny --calibration %s --ranks 3", path), 0,
           "layer, 3 ranks, 4 tokens of each");
}

static void one_rank_has_no_network(void **state)
{
    const char *path = in_folder(state, "c.json").text;
    expect(run(SCALE "--longest 0.0001 --budget 0.1 --calibrate %s", path), 0,
           "No network: this is one rank");
    expect(run(ADAMOE " scale --preset tiny --calibration %s", path), 2,
           "no network was measured: give --latency");
    expect(run(ADAMOE " scale --preset tiny --calibration %s --latency 5 --bandwidth 10 --ranks 2", path), 0,
           "no run was made that it was not fitted to");
}

static void predictions_are_made_once(void **state)
{
    (void)state;
    SKIP_WITHOUT_MPI;
    const outcome *got = run(MPIRUN " -n 2 " ADAMOE " scale --latency 1 --bandwidth 1 --gflops 1 --gbytes 1");
    expect(got, 2, "adamoe scale: started as several ranks, which only --calibrate asks for");
    assert_null(strstr(strstr(got->text, "started as") + 1, "started as"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranks_are_calibrated, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(one_rank_has_no_network, make_folder, remove_folder),
        cmocka_unit_test(predictions_are_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

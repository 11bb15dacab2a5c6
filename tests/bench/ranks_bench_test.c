/*
 * `adamoe bench` under mpirun: outputs are judged before any time is taken, what travels is what was predicted, and what
 * null experts save of it is told; what means nothing over ranks is refused once. Left out: whether the times are right.
 */
#include "bench/ranks.h"
#include "sanitized.h"

#define BENCH ADAMOE " bench --preset tiny --threads 1 --benchmark_repetitions=3 --benchmark_min_time=0.0005 "

static const json_t *entry_of(const json_t *document, size_t i)
{
    const json_t *entry = json_array_get(json_object_get(document, "benchmarks"), i);
    assert_non_null(entry);
    return entry;
}

static double value_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("no number %s", key);
    }
    return json_number_value(value);
}

static void expect_name(const json_t *entry, const char *name)
{
    assert_string_equal(json_string_value(json_object_get(entry, "name")), name);
}

/* Hot: one batch, so that every call sends the same. */
static void check_kernel(const json_t *entry, uint32_t ranks)
{
    const json_t *traffic = json_object_get(entry, "communication");
    const json_t *first = json_array_get(json_object_get(traffic, "by_rank"), 0);
    const double calls = value_of(first, "exchanges");
    assert_int_equal(whole_number(traffic, "ranks"), ranks);
    assert_int_equal(whole_number(traffic, "bytes"), whole_number(traffic, "predicted_bytes"));
    assert_true(calls == 3.0 * value_of(entry, "calls"));
    assert_true(value_of(traffic, "bytes") == calls * value_of(entry, "bytes_sent_per_call"));
    assert_true(value_of(traffic, "rows_sent") == calls * value_of(entry, "rows_sent_per_call"));
    assert_true(value_of(traffic, "rows_kept") + value_of(traffic, "rows_sent") ==
                calls * value_of(entry, "expert_rows"));
    assert_true(value_of(entry, "rows_sent_per_call") > 0.0);
    assert_true(value_of(entry, "load") == value_of(entry, "expert_rows") / (5.0 * ranks));
    assert_true(value_of(entry, "median_seconds_low") > 0.0);
}

/* The whole of three ranks' tokens is balanced, as one machine's are, wherever experts live. */
static void kernels_take_turns_on_all_ranks(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    write_recording(folder, "recording", 4, "8");
    expect_once(run("cd %s && " MPIRUN " -n 3 " BENCH
                    "--tokens 5 --hot --kernel reference --kernel onednn-f32 --json "
                    "block.json",
                    folder),
                0, "3 ranks (Open MPI");
    json_t *all = load_json(folder, "block.json");
    expect_name(entry_of(all, 0), "layer/tiny/reference/tokens:5/routing:balanced/threads:1/ranks:3/hot");
    check_kernel(entry_of(all, 0), 3);
    check_kernel(entry_of(all, 1), 3);
    const double rows = value_of(entry_of(all, 0), "expert_rows"),
                 sent = value_of(entry_of(all, 0), "bytes_sent_per_call");
    assert_true(sent == value_of(entry_of(all, 1), "bytes_sent_per_call")); /* both round to float32 */
    json_decref(all);
    expect(run("cd %s && " MPIRUN " -n 3 " BENCH "--tokens 5 --hot --kernel reference --rank-experts load "
               "--rank-recording recording --json load.json",
               folder),
           0, "placement load of recording");
    all = load_json(folder, "load.json");
    expect_name(entry_of(all, 0),
                "layer/tiny/reference/tokens:5/routing:balanced/threads:1/ranks:3/experts:load/hot");
    check_kernel(entry_of(all, 0), 3);
    assert_true(value_of(entry_of(all, 0), "expert_rows") == rows);
    assert_true(value_of(entry_of(all, 0), "bytes_sent_per_call") != sent);
    json_decref(all);
    /* A change of what travels is one of the code. */
    expect(
        run("cd %s && sed 's/\"bytes_sent_per_call\": .*,/\"bytes_sent_per_call\": 1.0,/' block.json >other.json && " ADAMOE
            " compare block.json other.json",
            folder),
        1, "bytes_sent_per_call");
    expect(run("cd %s && " ADAMOE " compare block.json block.json", folder), 0, "0 regressions");
}

/* Tokens 0 and 1 select experts 0, 1 and 2. The other batch has 3, 4 and 5, of which the first rank holds 3: in each of
 * them one row travels. A rank that moved on by the experts of its own tokens would send others. */
static void cold_batches_are_those_of_all_ranks(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect(run("cd %s && " MPIRUN " -n 2 " BENCH
               "--tokens 1 --kernel reference --benchmark_min_time=0 --json cold.json",
               folder),
           0, "layer/tiny/tokens:1/routing:balanced");
    json_t *all = load_json(folder, "cold.json");
    const json_t *entry = entry_of(all, 0);
    assert_true(value_of(entry, "expert_rows") == 3.0);
    assert_true(value_of(entry, "rows_sent_per_call") == 1.0);
    /* One call, before which the caches are emptied: no copy more is wanted. */
    assert_true(value_of(entry, "calls") == 1.0);
    assert_true(value_of(entry, "copies") == 1.0 && value_of(entry, "copies_wanted") == 1.0);
    json_decref(all);
}

/* Several batches and copies of the weights, the router in each call. */
static void null_experts_save_bytes_and_time(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect_once(run("cd %s && ADAMOE_LAST_LEVEL_CACHE=8M " MPIRUN " -n 2 " BENCH
                    "--saved --tokens 16 --benchmark_min_time=0 --json s.json",
                    folder),
                0, "of bytes between ranks");
    json_t *all = load_json(folder, "s.json");
    const json_t *entry = entry_of(all, 0), *traffic = json_object_get(entry, "communication");
    const double bytes = value_of(traffic, "bytes"), baseline = value_of(traffic, "baseline_bytes");
    assert_int_equal(whole_number(traffic, "bytes"), whole_number(traffic, "predicted_bytes"));
    assert_true(fabs(value_of(traffic, "bytes_reduction") - (1.0 - bytes / baseline)) < 1e-12);
    assert_true(bytes / baseline > 0.8 && bytes / baseline < 0.9); /* load 1.67 against 2 */
    assert_true(value_of(entry, "load") > 1.6 && value_of(entry, "load") < 1.7);
    assert_true(value_of(entry, "baseline_load") == 2.0);
    assert_true(isfinite(value_of(entry, "time_reduction")));
    /* A repetition is one trace with both sides: its calls do not come back to weights that it has left in a cache. */
    assert_true(value_of(entry, "copies") == value_of(entry, "copies_wanted"));
    assert_true(value_of(entry, "copies") > 2.0 * value_of(entry, "trace_calls"));
    json_decref(all);
}

/* A program of sanitizers has more addresses than such a limit. */
static void too_little_memory_is_told(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    SKIP_WITHOUT_MPI;
    expect_once(run(MPIRUN " -n 2 sh -c \"ulimit -v 4000000; exec " BENCH
                           "--preset mixtral-8x7b --tokens 1 --kernel reference --kernel onednn-f32\""),
                4, "mixtral-8x7b, ranks of this machine: 2: 15.50 GB of memory are needed, ulimit -v leaves");
    expect_once(run(MPIRUN " -n 2 sh -c \"ulimit -v 800000; ADAMOE_LAST_LEVEL_CACHE=1G exec " BENCH
                           "--saved --tokens 16\""),
                0, "Capped: ");
}

static void wrong_results_and_what_means_nothing_are_refused(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect_once(
        run(MPIRUN " -n 2 " BENCH "--tokens 5 --plugin " SHELL_WORD(ADAMOE_BROKEN) " --kernel leaking"), 1,
        "ranks:2: rank 0: wrong result at token ");
    expect_once(run(MPIRUN " -n 2 " BENCH "--stages --json %s/no/r.json", folder), 2,
                "over ranks not with --stages");
    expect_once(run(MPIRUN " -n 2 " BENCH "--benchmark_filter=x"), 2,
                "over ranks not with --benchmark_filter=x");
    expect_once(run(MPIRUN " -n 2 " BENCH "--saved --benchmark_repetitions=201"), 2,
                "--benchmark_repetitions: 201: with --saved at most 200");
    expect_once(run(MPIRUN " -n 2 " BENCH "--tokens 5 --json %s/no/r.json", folder), 4,
                "no/r.json: create: ");
    expect_once(run(MPIRUN " -n 1 " BENCH " --tokens 5 : -n 1 " BENCH " --tokens 6"), 2,
                "rank 1 differs from rank 0 in its options");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kernels_take_turns_on_all_ranks, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(cold_batches_are_those_of_all_ranks, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(null_experts_save_bytes_and_time, make_folder, remove_folder),
        cmocka_unit_test(too_little_memory_is_told),
        cmocka_unit_test_setup_teardown(wrong_results_and_what_means_nothing_are_refused, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

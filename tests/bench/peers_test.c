/*
 * adamoe bench --peers: other engines from a list, beside ours; what their times are set against; and
 * what each kind of bad list is told.
 */
#include "program.h"
#include "bench/peers.h"

#include <jansson.h>

#define CLIENT "\"" ADAMOE_CLIENTS "/remote_client\""
#define BROKEN "\"" ADAMOE_CLIENTS "/remote_broken\""
#define BENCH                                                                                                \
    ADAMOE " bench --tokens 4 --benchmark_repetitions=3 --benchmark_min_time=0.001 --peers '%s/peers'"

/* A file `peers` with this text, in which printf's escapes are read. */
static const char *list(void **state, const char *text)
{
    const char *folder = *state;
    expect(run("printf '%s' > '%s/peers'", text, folder), 0, "");
    return folder;
}

static const json_t *find_benchmark(const json_t *document, const char *kernel)
{
    const json_t *entry = NULL;
    size_t i;
    json_array_foreach(json_object_get(document, "benchmarks"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (strstr(name, kernel) != NULL) {
            return entry;
        }
    }
    fail_msg("no benchmark of %s", kernel);
    return NULL;
}

static double counter(const json_t *entry, const char *name)
{
    assert_non_null(json_object_get(entry, name));
    return json_number_value(json_object_get(entry, name));
}

/* The peer comes behind ours, in the same run, with the best of ours for each; ours have no such counter. */
static void a_peer_is_set_against_the_best_of_ours(void **state)
{
    const char *folder = list(state, "# ours are beside it\\n\\nc-client  " CLIENT "  \\n");
    /* Which of ours is the best is up to the moment. */
    const outcome *text = run(BENCH " --kernel reference --kernel onednn-f32", folder);
    expect(text, 0, " times as fast as ");
    expect(text, 0, ", the best of ours with weights in float32; plain C 17");
    const outcome *got = run(BENCH " --kernel reference --kernel onednn-f32 --json -", folder);
    assert_int_equal(got->code, 0);
    json_error_t error;
    json_t *document = json_loads(got->text, 0, &error);
    assert_non_null(document);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(document, "context"), "adamoe_peer_c-client")),
        "plain C 17");
    const json_t *peer = find_benchmark(document, "/c-client/"),
                 *ours = find_benchmark(document, "/onednn-f32/");
    const double speed = counter(peer, "speed_over_best_of_ours");
    assert_true(counter(peer, "speed_over_best_of_ours_low") > 0.0 &&
                counter(peer, "speed_over_best_of_ours_low") <= speed &&
                speed <= counter(peer, "speed_over_best_of_ours_high"));
    assert_null(json_object_get(ours, "speed_over_best_of_ours"));
    json_decref(document);
}

/* Times that are made up: who is set against whom, which way round the ratio is, and that it is one of repetitions, so
 * that what slows both down for a while is not seen. */
static void a_slower_peer_has_a_speed_below_1(void **state)
{
    enum { REPETITIONS = 5, COUNT = 5 };
    (void)state;
    static const adamoe_kernel ours_f32 = {.name = "ours-f32", .weight = ADAMOE_FLOAT32},
                               slow_f32 = {.name = "slow-f32", .weight = ADAMOE_FLOAT32},
                               ours_bf16 = {.name = "ours-bf16", .weight = ADAMOE_BFLOAT16},
                               peer_f32 = {.name = "peer-f32", .weight = ADAMOE_FLOAT32},
                               peer_int8 = {.name = "peer-int8", .weight = ADAMOE_INT8};
    double seconds[COUNT][REPETITIONS] = {{1.0, 10.0, 1.0, 2.0, 1.0},
                                          {3.0, 3.0, 3.0, 3.0, 3.0},
                                          {0.5, 0.5, 0.5, 0.5, 0.5},
                                          {4.0, 40.0, 5.0, 8.0, 2.0}, /* 1/4, 1/4, 1/5, 1/4, 1/2 */
                                          {0.25, 0.25, 0.25, 0.25, 0.25}};
    static const adamoe_kernel *const kernel[COUNT] = {&ours_f32, &slow_f32, &ours_bf16, &peer_f32,
                                                       &peer_int8};
    adamoe_bench_member member[COUNT] = {{.kernel = NULL}};
    for (size_t i = 0; i < COUNT; ++i) {
        member[i] = (adamoe_bench_member){.kernel = kernel[i], .wanted = true, .seconds = seconds[i]};
        assert_ok(adamoe_estimate_median(seconds[i], REPETITIONS, &member[i].summary.seconds));
    }
    const adamoe_peers peers = {.peer = {{.kernel = &peer_f32}, {.kernel = &peer_int8}}, .count = 2};
    adamoe_against against[COUNT];
    assert_ok(adamoe_peers_against(&peers, member, COUNT, REPETITIONS, against));
    assert_true(against[0].best == NULL && against[1].best == NULL && against[2].best == NULL);
    assert_true(against[3].best == &member[0]); /* of those with float32 weights */
    assert_true(against[3].speed.median == 0.25);
    assert_true(against[3].speed.interval.low >= 0.2 && against[3].speed.interval.low < 0.25);
    assert_true(against[3].speed.interval.high > 0.25 && against[3].speed.interval.high <= 0.5);
    assert_true(against[4].best == &member[2]); /* of all: none of ours has int8 weights */
    assert_true(against[4].speed.median == 2.0 && against[4].speed.interval.low == 2.0 &&
                against[4].speed.interval.high == 2.0);
    member[2].status = adamoe_error(ADAMOE_DIFFERENCE, "wrong"); /* has no times */
    assert_ok(adamoe_peers_against(&peers, member, COUNT, REPETITIONS, against));
    assert_true(against[4].best == &member[0]);
}

/* Exit code 2, the file and the line. */
static void a_bad_list_is_named_by_its_line(void **state)
{
    static const struct {
        const char *text, *message;
    } lists[] = {
        {"", "/peers: it lists none"},
        {"# nothing\\n", "/peers: it lists none"},
        {"# first\\nlonely\\n", "/peers:2: lonely: no command follows"},
        {"a b\\n\\na c\\n", "/peers:3: a: it is in line 1 already"},
        {"a b\\n\\000\\n", "/peers:2: a NUL"},
        {"other " CLIENT "\\n", "/peers:1: other: its command announces c-client"},
        {"\\nreference no-such-program-anywhere\\n",
         "/peers:2: --command: no-such-program-anywhere: announcement: "},
        {"c-client " CLIENT "\\nbroken " BROKEN " zeros\\n",
         "/peers:2: broken: it does not state its version"},
        {"broken " BROKEN " version\\n", "/peers:1: --command: "},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; ++i) {
        const char *folder = list(state, lists[i].text);
        const outcome *got = run(BENCH, folder);
        expect(got, 2, "adamoe bench: --peers: ");
        expect(got, 2, lists[i].message);
    }
    char many[33 * 8 + 1] = "";
    for (size_t i = 0; i < 33; ++i) {
        (void)snprintf(many + strlen(many), sizeof many - strlen(many), "k%zu c\\n", i);
    }
    expect(run(BENCH, list(state, many)), 2, "/peers:33: more than 32 peers");
    expect(run(ADAMOE " bench --peers /no/such/file"), 2, "--peers: /no/such/file: open: No such file");
    expect(run(ADAMOE " bench --peers x --peers y"), 2, "--peers: only one file");
    expect(run(ADAMOE " bench --saved --peers x"), 2, "--peers goes without --saved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_peer_is_set_against_the_best_of_ours, make_folder, remove_folder),
        cmocka_unit_test(a_slower_peer_has_a_speed_below_1),
        cmocka_unit_test_setup_teardown(a_bad_list_is_named_by_its_line, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

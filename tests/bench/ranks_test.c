/*
 * The program over ranks, as mpirun starts them: the samples of one rank, byte by byte; what travels, as
 * predicted; one message where ranks do not go together.
 */
#include "bench/ranks.h"

static void check_traffic(const char *folder, uint32_t ranks, bool dense)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/many.json", folder);
    json_t *all = json_load_file(path, 0, NULL), *cost = json_object_get(all, "adamoe");
    const json_t *traffic = json_object_get(cost, "communication"),
                 *list = json_object_get(traffic, "by_rank");
    assert_int_equal(whole_number(traffic, "ranks"), ranks);
    assert_int_equal(json_array_size(list), ranks);
    json_int_t sent = 0, received = 0, questions = 0, rows_sent = 0, served = 0, tokens = 0;
    for (size_t r = 0; r < ranks; ++r) {
        const json_t *rank = json_array_get(list, r);
        sent += whole_number(rank, "bytes_sent");
        received += whole_number(rank, "bytes_received");
        questions += whole_number(rank, "questions");
        tokens += whole_number(rank, "tokens");
        rows_sent += whole_number(rank, "rows_sent");
        served += whole_number(rank, "rows_served");
    }
    assert_int_equal(questions, 24);
    assert_int_equal(tokens, whole_number(cost, "tokens_processed"));
    assert_int_equal(sent, received);
    assert_int_equal(sent, whole_number(traffic, "bytes"));
    assert_int_equal(sent, whole_number(traffic, "predicted_bytes"));
    assert_int_equal(rows_sent, served);
    assert_true(dense ? sent == 0 : sent > 0);
    const json_int_t base = whole_number(traffic, "baseline_bytes");
    const json_t *reduction = json_object_get(cost, "bytes_reduction");
    if (dense) {
        assert_true(json_is_null(reduction));
    } else {
        assert_true(fabs(json_real_value(reduction) - (1.0 - (double)sent / (double)base)) < 1e-12);
        assert_true(json_real_value(reduction) > 0.05);
    }
    json_decref(all);
}

static const char *best_kernel(void)
{
    return run(ADAMOE " eval --kernel avx2-int8 --model " MODEL " --questions " QUESTIONS " --limit 1")
                       ->code == 0
               ? "avx2-int8"
               : "reference";
}

static void samples_are_those_of_one_rank(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    static const struct {
        uint32_t ranks;
        const char *more;
    } cases[] = {{2, ""},
                 {4, "--rank-experts turn --rank-chunks 3 --rank-no-overlap --batch-tokens 100"},
                 {7, "--rank-chunks 1 --batch-tokens 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        const char *kernel = i == 2 ? best_kernel() : NULL;
        char with[256];
        (void)snprintf(with, sizeof with, "%s %s %s", cases[i].more, kernel == NULL ? "" : "--kernel",
                       kernel == NULL ? "" : kernel);
        expect(run(EVAL " %s --samples %s/one.jsonl --json %s/one.json", with, folder, folder), 0, "24 of");
        const outcome *got = run(MPIRUN " -n %u " EVAL " %s --samples %s/many.jsonl --json %s/many.json",
                                 cases[i].ranks, with, folder, folder);
        expect(got, 0, " ranks (Open MPI");
        assert_ptr_equal(strstr(strstr(got->text, "acc_norm") + 1, "acc_norm"), NULL); /* once */
        expect(run("cmp %s/one.jsonl %s/many.jsonl", folder, folder), 0, "");
        check_traffic(folder, cases[i].ranks, false);
        expect(run("cd %s && " ADAMOE " compare many.json many.json", folder), 0, "0 regressions");
    }
}

/* The naive model has no kernel to spread, and every rank all experts. */
static void ranks_share_questions_alone_on_the_naive_model(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect(run(EVAL " --kernel reference --samples %s/one.jsonl", folder), 0, "24 of");
    expect(run(MPIRUN " -n 2 " EVAL " --kernel reference --samples %s/many.jsonl --json %s/many.json", folder,
               folder),
           0, "no row travels");
    expect(run("cmp %s/one.jsonl %s/many.jsonl", folder, folder), 0, "");
    check_traffic(folder, 2, true);
}

static void ranks_that_differ_are_refused(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect_once(run(MPIRUN " -n 1 " EVAL " : -n 1 " EVAL " --top-k 2"), 2,
                "rank 1 differs from rank 0 in its options");
    const outcome *got = run("cd %s && mkdir a b && cp -r " TINY_MODEL
                             " a/m && cp -r a/m b/m && printf ' ' >> b/m/config.json && " MPIRUN
                             " -n 1 --wdir $PWD/a " ADAMOE " eval --model m --questions " WORDNET
                             " : -n 1 --wdir $PWD/b " ADAMOE " eval --model m --questions " WORDNET,
                             folder);
    expect_once(got, 2, "rank 1 differs from rank 0 in its model: m with other contents");
    expect_once(run(MPIRUN " -n 2 " ADAMOE " flops --help"), 2,
                "does not run over ranks; these verbs do: info layer");
    expect_once(run(MPIRUN " -n 2 " EVAL " --top-k none"), 2, "--top-k: `none' is not a whole number");
    expect_once(run(MPIRUN " -n 2 " EVAL " --json %s/no/r.json", folder), 4, "no/r.json: create: ");
    expect_once(run(MPIRUN " -n 2 " EVAL " --record-routing %s/r", folder), 2,
                "--record-routing: on one rank");
    assert_false(exists(folder, "r"));
}

/* What is loaded is not in the command line: a plugin of another build may stand at the same path. */
static void plugins_that_differ_are_refused(void **state)
{
    const char *folder = *state;
    static const char *const verbs[] = {" layer " LAYER, " scale --preset tiny --calibrate c.json",
                                        " reproduce --evaluate-only --model " TINY_MODEL
                                        " --questions " WORDNET,
                                        " eval --model " TINY_MODEL " --questions " WORDNET,
                                        " bench --preset tiny --tokens 5 --kernel leaking"};
    SKIP_WITHOUT_MPI;
    expect(run("cd %s && mkdir a b && cp '" ADAMOE_BROKEN "' a/k && cp a/k b/k && echo >>b/k", folder), 0,
           "");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
        expect_once(run("cd %s && " MPIRUN " -n 1 --wdir $PWD/a " ADAMOE
                        "%s --plugin ./k : -n 1 --wdir $PWD/b " ADAMOE "%s --plugin ./k",
                        folder, verbs[i], verbs[i]),
                    2, "rank 1 differs from rank 0 in its plugin: ./k with other contents");
    }
    expect_once(run("cd %s && cp '" ADAMOE_CLIENTS
                    "/remote_client' a/c && cp a/c b/c && echo >>b/c && " MPIRUN " -n 1 --wdir $PWD/a " ADAMOE
                    " layer " LAYER " --command ./c : -n 1 --wdir $PWD/b " ADAMOE " layer " LAYER
                    " --command ./c",
                    folder),
                2, "rank 1 differs from rank 0 in its command: ./c with other contents");
}

/* A journal in which nothing is missing: its run ended before the results were written. */
static void a_finished_run_tells_its_ranks(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect(run("cd %s && " MPIRUN " -n 2 " EVAL " --resume --samples s --json /dev/full", folder), 4,
           "/dev/full");
    expect_once(run("cd %s && " MPIRUN " -n 2 " EVAL " --resume --samples s --json r.json", folder), 0,
                "24 of 24 questions were finished");
    json_t *all = load_json(folder, "r.json");
    const json_t *cost = json_object_get(all, "adamoe"), *traffic = json_object_get(cost, "communication");
    assert_int_equal(whole_number(cost, "threads"), 2);
    assert_int_equal(whole_number(traffic, "ranks"), 2);
    assert_int_equal(whole_number(traffic, "rows_sent"), 0);
    json_decref(all);
}

/* What few runs need is not in the start of all, nor in the data of every thread. */
static void the_program_is_linked_with_neither_mpi_nor_metis(void **state)
{
    (void)state;
    const outcome *got = run("LD_TRACE_LOADED_OBJECTS=1 " ADAMOE);
    expect(got, 0, "libc.so");
    assert_null(strstr(got->text, "libmpi"));
    assert_null(strstr(got->text, "metis"));
}

static void info_tells_where_ranks_are(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    char path[1024];
    expect_once(run(MPIRUN " -n 2 " ADAMOE " info --json %s/i.json", folder), 0, "ranks     2 (Open MPI");
    (void)snprintf(path, sizeof path, "%s/i.json", folder);
    json_t *all = json_load_file(path, 0, NULL);
    const json_t *ranks = json_object_get(all, "ranks");
    assert_int_equal(whole_number(ranks, "ranks"), 2);
    assert_int_equal(whole_number(ranks, "sharing_processors"), 2); /* nothing binds them in these tests */
    assert_true(whole_number(json_array_get(json_object_get(ranks, "by_rank"), 1), "processors") > 0);
    json_decref(all);
}

/* Rank 0 has all tokens, and what the file expects is compared there. */
static void a_layer_is_that_of_one_rank(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    char path[1024];
    expect(run(ADAMOE " layer " LAYER " --threads 1 -o %s/one", folder), 0, "passed");
    expect_once(run(MPIRUN " -n 3 " ADAMOE " layer " LAYER " --threads 1 -o %s/many --json %s/many.json",
                    folder, folder),
                0, "3 ranks (Open MPI");
    expect(run("cmp %s/one %s/many", folder, folder), 0, "");
    (void)snprintf(path, sizeof path, "%s/many.json", folder);
    json_t *all = json_load_file(path, 0, NULL);
    const json_t *traffic = json_object_get(all, "communication");
    assert_int_equal(whole_number(traffic, "bytes"), whole_number(traffic, "predicted_bytes"));
    assert_true(whole_number(traffic, "rows_sent") > 0);
    json_decref(all);
    expect_once(run(MPIRUN " -n 2 " ADAMOE " layer " LAYER " --threads 1 --top-k 1"), 1,
                "comparisons failed");
}

/* Times come from one start of the ranks; bytes of both sides are counted. */
static void reproduce_sets_sides_beside_each_other(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    char path[1024];
    write_recording(folder, "fits", 4, "8");
    expect_once(run(MPIRUN " -n 2 " ADAMOE " reproduce"), 2, "over ranks: with --evaluate-only alone");
    const outcome *got =
        run("head -40 " WORDNET " >%s/q && " MPIRUN " -n 2 " ADAMOE
            " reproduce --evaluate-only --threads 1 --model " TINY_MODEL " --baseline " SHELL_WORD(
                SOURCE_PATH("datasets/tiny-mixtral-top2")) " --questions %s/q --processes 3 --json %s/r.json"
                                                           " --rank-experts load --rank-recording %s/fits",
            folder, folder, folder, folder);
    expect_once(got, 0, "bytes between ranks: top-2 ");
    expect(got, 0,
           "over 3 turns of 1 round) is no claim, for "); /* the ranks were started once; or disturbed */
    (void)snprintf(path, sizeof path, "%s/r.json", folder);
    json_t *all = json_load_file(path, 0, NULL), *sides = json_object_get(all, "evaluation");
    const double reduction = json_real_value(json_object_get(sides, "bytes_reduction"));
    assert_true(reduction > 0.1 && reduction < 0.5);
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(samples_are_those_of_one_rank, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(ranks_share_questions_alone_on_the_naive_model, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(ranks_that_differ_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(plugins_that_differ_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_finished_run_tells_its_ranks, make_folder, remove_folder),
        cmocka_unit_test(the_program_is_linked_with_neither_mpi_nor_metis),
        cmocka_unit_test_setup_teardown(info_tells_where_ranks_are, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_layer_is_that_of_one_rank, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(reproduce_sets_sides_beside_each_other, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

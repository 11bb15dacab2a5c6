/*
 * Ranks that end before they have met: one line says why, once, and which rank it is where not all have the same error.
 */
#include "bench/ranks.h"

/* Nothing that a rank other than 0 prints of itself is in it. */
static void expect_of_all(const outcome *got, int code, const char *part)
{
    expect_once(got, code, part);
    assert_null(strstr(got->text, "rank 1: "));
}

static void what_all_ranks_would_say_is_said_once(void **state)
{
    (void)state;
    SKIP_WITHOUT_MPI;
    expect_of_all(run(MPIRUN " -n 2 " ADAMOE " nosuch"), 2, "nosuch: no such verb");
    expect_of_all(run(MPIRUN " -n 2 " ADAMOE " --version"), 0, "adamoe ");
    expect_of_all(run(MPIRUN " -n 2 " ADAMOE " --help"), 0, "Usage: adamoe VERB");
    expect_of_all(run(MPIRUN " -n 2 " ADAMOE " eval --help"), 0, "Usage: adamoe eval");
    expect_of_all(run(MPIRUN " -n 2 " ADAMOE " bench --benchmark_min_time=nan"), 2, "`nan' is not a number");
    expect_of_all(run(MPIRUN " -n 2 " ADAMOE " bench --benchmark_repetitions=0"), 2,
                  "`0' is not a whole number");
    expect_of_all(run(MPIRUN " -n 2 " EVAL " --threads 0"), 2, "--threads: `0' is not a whole number");
    expect_of_all(run(MPIRUN " -n 2 " ADAMOE " scale --latency 1 --bandwidth 1 --gflops 1 --gbytes 1"), 2,
                  "started as several ranks");
}

/* Rank 0 has none of these, and waits for the others meanwhile. */
static void an_error_of_another_rank_is_said_with_its_number(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect_once(run(MPIRUN " -n 1 " EVAL " : -n 2 " EVAL " --threads 0"), 2,
                "rank 1: adamoe eval: --threads: `0' is not a whole number");
    expect_once(run(MPIRUN " -n 1 " EVAL " : -n 1 " ADAMOE " nosuch"), 2,
                "adamoe: rank 1: nosuch: no such verb");
    expect_once(run(MPIRUN " -n 1 " EVAL " : -n 1 " ADAMOE " flops"), 2,
                "adamoe flops: rank 1: it was started as 2 ranks");
    /* a copy of the program without its modules beside it */
    expect_once(run("mkdir %s/bin && cp " ADAMOE " %s/bin/adamoe && " MPIRUN " -n 1 " EVAL
                    " : -n 1 %s/bin/adamoe"
                    " eval --model " TINY_MODEL " --questions " WORDNET,
                    folder, folder, folder),
                3, "adamoe eval: rank 1: started as one of several ranks, but built without MPI");
}

static void ranks_that_run_other_verbs_are_named(void **state)
{
    (void)state;
    SKIP_WITHOUT_MPI;
    expect_once(run(MPIRUN " -n 1 " EVAL " : -n 1 " ADAMOE " info"), 2,
                "rank 1 differs from rank 0 in its options: info, rank 0: eval ");
    expect_once(run(MPIRUN " -n 1 " ADAMOE " info : -n 1 " EVAL), 2,
                "rank 1 differs from rank 0 in its options: eval ");
    expect_once(run(MPIRUN " -n 1 " EVAL " : -n 1 " ADAMOE " reproduce --evaluate-only --model " TINY_MODEL
                           " --questions " WORDNET),
                2, "rank 1 differs from rank 0 in its options: reproduce ");
}

/* As a launcher of another MPI does it: each process is the only one to this program's. */
static void the_launcher_of_another_mpi_is_refused(void **state)
{
    (void)state;
    SKIP_WITHOUT_MPI;
    expect_once(run("PMI_SIZE=4 PMI_RANK=0 OMPI_ALLOW_RUN_AS_ROOT=1 " EVAL), 4,
                "the launcher started rank 0 of 4, which is rank 0 of 1 to this program's MPI");
}

static void patience_has_bounds(void **state)
{
    (void)state;
    expect(run(EVAL " --rank-patience 1e19"), 2, "--rank-patience: `1e19' is not from 3 to 1000000 s");
    expect(run(EVAL " --rank-patience 2.9"), 2, "--rank-patience: `2.9' is not from 3 to 1000000 s");
    SKIP_WITHOUT_MPI;
    expect(run(MPIRUN " -n 2 " EVAL " --rank-patience 1e6"), 0, " ranks (Open MPI");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_all_ranks_would_say_is_said_once),
        cmocka_unit_test_setup_teardown(an_error_of_another_rank_is_said_with_its_number, make_folder,
                                        remove_folder),
        cmocka_unit_test(ranks_that_run_other_verbs_are_named),
        cmocka_unit_test(the_launcher_of_another_mpi_is_refused),
        cmocka_unit_test(patience_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

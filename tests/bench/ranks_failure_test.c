/*
 * Ranks that are killed or stopped: the run ends soon, says so once, leaves nothing half-written, and can be gone on with.
 * Ranks that are all stopped for a while, and one that takes long to write, are not taken for dead.
 */
#include "bench/ranks.h"

#define LONGER                                                                                               \
    ADAMOE " eval --model " TINY_MODEL " --questions " WORDNET " --threads 1 --limit 200 --batch-tokens 32"

/* Sends a signal to one of three ranks when the journal has so many lines; the exit code of mpirun. */
static int end_rank(const char *folder, const char *signal, unsigned rank, unsigned lines)
{
    const outcome *got =
        run("cd %s && { " MPIRUN " -x ADAMOE_TEST_RUN=%s -n 3 " LONGER
            " --rank-patience 4 --resume --samples s.jsonl --json r.json & } ; main=$!; "
            "until [ \"$(cat s.jsonl.partial 2>/dev/null | wc -l)\" -ge %u ]; do sleep 0.02; done; "
            "for p in $(grep -lsz ADAMOE_TEST_RUN=%s /proc/[0-9]*/environ); do "
            "grep -qsz OMPI_COMM_WORLD_RANK=%u $p && p=${p#/proc/} && kill -s %s ${p%%/environ}; "
            "done; wait $main",
            folder, folder, lines, folder, rank, signal);
    if (strcmp(signal, "STOP") == 0) {
        expect(got, 4,
               "eval: rank 2 of 3 has said nothing for 4.0 s: it has ended, is stopped or cannot be reached");
    }
    return got->code;
}

/* Nothing half-written; and what was finished is not run again, and all is as without the end. */
static void a_run_that_lost_a_rank_is_gone_on_with(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    static const struct {
        const char *signal;
        unsigned rank, lines;
    } cases[] = {{"KILL", 1, 2}, {"KILL", 0, 20}, {"STOP", 2, 12}};
    expect(run(LONGER " --samples %s/whole.jsonl", folder), 0, "200 of");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        assert_int_not_equal(end_rank(folder, cases[i].signal, cases[i].rank, cases[i].lines), 0);
        assert_false(exists(folder, "s.jsonl") || exists(folder, "r.json"));
        assert_true(exists(folder, "s.jsonl.partial"));
        expect(run("cd %s && " LONGER " --top-k 2 --resume --samples s.jsonl", folder), 2,
               "it was left by another run");
        expect(run("cd %s && printf '{\"first\":' >>s.jsonl.partial && " MPIRUN " -n 2 " LONGER
                   " --resume --samples s.jsonl --json r.json && cmp s.jsonl whole.jsonl && "
                   "grep -q questions_resumed r.json && rm s.jsonl r.json",
                   folder),
               0, "of 200 questions were finished by an earlier run");
        assert_false(exists(folder, "s.jsonl.partial"));
    }
}

/* As a container that is paused: nobody was silent for as long as nobody listened. */
static void a_run_that_was_stopped_as_a_whole_goes_on(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    const outcome *got =
        run("cd %s && { " MPIRUN " -x ADAMOE_TEST_RUN=%s -n 3 " LONGER
            " --rank-patience 3 --resume --samples s.jsonl & } ; main=$!; "
            "until [ \"$(cat s.jsonl.partial 2>/dev/null | wc -l)\" -ge 2 ]; do sleep 0.02; done; "
            "all=$(grep -lsz ADAMOE_TEST_RUN=%s /proc/[0-9]*/environ | tr -dc '0-9\\n' | tr '\\n' ' '); "
            "kill -s STOP $all; sleep 5; kill -s CONT $all; wait $main",
            folder, folder, folder);
    expect(got, 0, "200 of");
    assert_true(exists(folder, "s.jsonl"));
}

/* The others have come to their end, and wait for longer than they would for one that says nothing. */
static void a_rank_that_still_writes_is_waited_for(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    expect(run("cd %s && " MPIRUN " -x LD_PRELOAD=" SHELL_WORD(
                   ADAMOE_SLOW_SYNC) " -x ADAMOE_TEST_SYNC_SECONDS=6 -n 3 " EVAL
                                     " --rank-patience 3 --json slow.json && [ \"$(ls)\" = slow.json ]",
               folder),
           0, "24 of");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_that_was_stopped_as_a_whole_goes_on, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_rank_that_still_writes_is_waited_for, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_run_that_lost_a_rank_is_gone_on_with, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

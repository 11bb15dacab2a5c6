/*
 * The option --command as a user meets it: kernels in processes of their own, in `check`, `layer`, `eval`, `bench` and
 * `info`; right ones and broken ones, by two clients in C. Those in Python are command_python_test.c's.
 */
#include "bench/command.h"

#define CLIENT          " --command '\"" ADAMOE_CLIENTS "/remote_client\"'"
#define BROKEN(misdeed) " --command '\"" ADAMOE_CLIENTS "/remote_broken\" " misdeed "'"

static void the_c_client_passes(void **state)
{
    (void)state;
    const outcome *got = run(ADAMOE " check" CLIENT " --kernel c-client --case tokens:7/");
    expect(got, 0, " 0 failed");
    expect(got, 0, "not tried: ");
    expect(got, 0, "the kernel runs in a process of its own");
    expect(run(ADAMOE " check" CLIENT " --kernel c-client --tier bitwise --case tokens:33/"), 0, " 0 failed");
    expect_nothing_running(ADAMOE_CLIENTS "/remote_client");
}

static void other_verbs_take_it(void **state)
{
    (void)state;
    const outcome *got =
        run(ADAMOE " bench --tokens 4 --benchmark_repetitions=3 --benchmark_min_time=0.001 --json -" CLIENT
                   " --kernel c-client");
    expect(got, 0, "\"crossing_seconds\": ");
    expect(got, 0, "\"process_seconds\": ");
    expect(run(ADAMOE " bench --tokens 4 --benchmark_repetitions=3 --benchmark_min_time=0.001" CLIENT
                      " --kernel c-client"),
           0, " is crossing into its process, whose own clock says ");
    expect(run(ADAMOE " layer " LAYER CLIENT " --kernel c-client"), 0, "output");
    expect(run(ADAMOE " info" CLIENT), 0, "c-client: plain C, one thread");
    /* It has no dense product, which the program's own makes up for; but it takes no weights in bfloat16. */
    expect(
        run(ADAMOE " eval --model " MODEL " --questions " QUESTIONS " --limit 1" CLIENT " --kernel c-client"),
        3, "layer 0: c-client: it takes no weights in bfloat16");
    expect_nothing_running(ADAMOE_CLIENTS "/remote_client");
}

/* Each of these is one failed case and exit code 1 under check. */
static void broken_ones_fail_one_case(void **state)
{
    (void)state;
    static const struct {
        const char *options, *message;
    } cases[] = {
        {" --command no-such-program-anywhere", "load: announcement: it ended with exit code 127"},
        {BROKEN("mute") " --timeout 2", "load: announcement: no answer in 1 s"},
        {BROKEN("crash") ZERO_CASE, "experts: it was ended by signal 11"},
        {BROKEN("hang") ZERO_CASE " --timeout 2", "hung: no result after 2 s"},
        {BROKEN("print") ZERO_CASE, "it wrote to its standard output"},
        {BROKEN("between") ZERO_CASE, "it ended with exit code 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        expect_one_failure(run(ADAMOE " check%s --kernel broken", cases[i].options), cases[i].message);
        expect_nothing_running(ADAMOE_CLIENTS "/remote_broken");
    }
    /* With the right answer and no misdeed there is nothing to fail. */
    expect(run(ADAMOE " check" BROKEN("zeros") ZERO_CASE " --kernel broken"), 0, "1 vacuous");
}

/* A kernel that fails always does not keep others from their cases. */
static void broken_ones_do_not_disturb(void **state)
{
    (void)state;
    const outcome *got = run(ADAMOE " check" BROKEN("start")
                                 CLIENT BROKEN("exit") " --kernel c-client --case exact/experts/d:1/");
    expect_one_failure(got, "load: announcement: it ended with exit code 7");
    expect(got, 1, "c-client");
    expect(run(ADAMOE " check" CLIENT " --kernel none"), 2, "--kernel: none: no such kernel");
}

static void other_verbs_exit_with_their_codes(void **state)
{
    (void)state;
    expect(run(ADAMOE " layer " LAYER BROKEN("start")), 2, "adamoe layer: --command: ");
    expect(run(ADAMOE " layer " LAYER BROKEN("exit") " --kernel broken"), 2,
           "experts: it ended with exit code 3");
    expect(run(ADAMOE " layer " LAYER BROKEN("killed") " --kernel broken"), 4, "ended by signal 9");
    expect(run(ADAMOE " layer " LAYER BROKEN("cannot") " --kernel broken"), 3,
           "cannot run here: no such device");
    expect(run(ADAMOE " layer " LAYER BROKEN("zeros") " --kernel broken"), 1, "");
    expect_nothing_running(ADAMOE_CLIENTS "/remote_broken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_c_client_passes),
        cmocka_unit_test(other_verbs_take_it),
        cmocka_unit_test(broken_ones_fail_one_case),
        cmocka_unit_test(broken_ones_do_not_disturb),
        cmocka_unit_test(other_verbs_exit_with_their_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

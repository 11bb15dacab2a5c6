/*
 * The option --command as a user meets it: kernels in processes of their own, in `check`, `layer`, `eval`, `bench` and
 * `info`; right ones, mistaken ones and broken ones. Two clients are in C and always run; those in Python skip, visibly,
 * where there is no NumPy.
 */
#include "program.h"
#include "test.h"

#include <ctype.h>

#define CLIENT          " --command '\"" ADAMOE_CLIENTS "/remote_client\"'"
#define BROKEN(misdeed) " --command '\"" ADAMOE_CLIENTS "/remote_broken\" " misdeed "'"

/* A case whose expected values are 0, so that nothing but the misdeed of one who computes nothing is wrong. */
#define ZERO_CASE " --case exact/experts/d:33/ff:33/n:1/m:3/k:2/tokens:1/routing:random/weights:f32"

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        ++count;
    }
    return count;
}

/* Whether a process runs in whose command line `part` is; one that only waits to be asked how it ended does not. */
static bool is_running(const char *part)
{
    bool found = false;
    DIR *folder = opendir("/proc");
    for (const struct dirent *entry = readdir(folder); entry != NULL && !found; entry = readdir(folder)) {
        char path[300], line[4096];
        (void)snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = isdigit((unsigned char)entry->d_name[0]) ? fopen(path, "re") : NULL;
        const size_t length = file == NULL ? 0 : fread(line, 1, sizeof line, file);
        found = length > 0 && memmem(line, length, part, strlen(part)) != NULL;
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    (void)closedir(folder);
    return found;
}

/* Waits a little: what is killed takes a moment. */
static void expect_nothing_running(const char *part)
{
    for (int i = 0; i < 100 && is_running(part); ++i) {
        (void)usleep(20000);
    }
    assert_false(is_running(part));
}

static void expect_one_failure(const outcome *got, const char *message)
{
    expect(got, 1, message);
    if (count_of(got->text, "FAILED ") != 1) {
        fail_msg("%zu failed cases, expected one: %s", count_of(got->text, "FAILED "), got->text);
    }
}

/* ------------------------------------------------------------------------------------------------------ in C */

static void the_c_client_passes(void **state)
{
    (void)state;
    const outcome *got = run(ADAMOE " check" CLIENT " --kernel c-client --case tokens:7/");
    expect(got, 0, " 0 failed");
    expect(got, 0, "not tried: ");
    expect(got, 0, "the kernel runs in a process of its own");
    expect(run(ADAMOE " check" CLIENT " --kernel c-client --tier bitwise --case tokens:33/"), 0, " 0 failed");
    expect_nothing_running("remote_client");
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
    expect_nothing_running("remote_client");
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
        expect_nothing_running("remote_broken");
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
    expect_nothing_running("remote_broken");
}

/* ------------------------------------------------------------------------------------------------- in Python */

/* An interpreter that has NumPy, with the folder of adamoe_kernel.py in its path. */
static const char *python(void)
{
    static const char *const candidates[] = {"python3", "/usr/bin/python3"};
    for (size_t i = 0; i < 2; ++i) {
        if (run("%s -c 'import numpy'", candidates[i])->code == 0) {
            (void)setenv("PYTHONPATH", SOURCE_PATH("kernels/remote"), 1);
            (void)setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
            (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
            return candidates[i];
        }
    }
    return NULL;
}

#define SKIP_WITHOUT_NUMPY(interpreter)                                                                      \
    do {                                                                                                     \
        if ((interpreter) == NULL) {                                                                         \
            print_message("skipped: there is no Python with NumPy (python3-numpy)\n");                       \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

#define SCRIPT(name) "\"" SOURCE_PATH("tests/kernels/remote/" name ".py") "\""

#define EXAMPLE " --command '%s \"" SOURCE_PATH("kernels/remote/example.py") "\"' --kernel numpy-example"

static void the_numpy_kernel_passes(void **state)
{
    (void)state;
    const char *const interpreter = python();
    SKIP_WITHOUT_NUMPY(interpreter);
    const outcome *got = run(ADAMOE " check" EXAMPLE " --case tokens:7/", interpreter);
    expect(got, 0, " 0 failed");
    if (strstr(got->text, "cases: 0 passed") != NULL) {
        fail_msg("nothing passed: %s", got->text);
    }
}

static void the_numpy_kernel_computes_models(void **state)
{
    (void)state;
    const char *const interpreter = python();
    SKIP_WITHOUT_NUMPY(interpreter);
    expect(run(ADAMOE " eval --model " MODEL " --questions " QUESTIONS " --limit 2" EXAMPLE, interpreter), 0,
           "The kernel has no dense product: router, attention and head are");
    expect(run(ADAMOE " generate --model " MODEL " --prompt a --tokens 2" EXAMPLE, interpreter), 0, "");
    expect(run(ADAMOE " layer " LAYER EXAMPLE, interpreter), 0, "");
}

/* Ten that a person makes: each in the cases that look there. */
static void mistakes_are_caught(void **state)
{
    (void)state;
    static const char *const where[] = {
        " --case values:sweep", " --case tokens:7/", " --case /dispatch/", " --case tokens:7/",
        " --tier exact",        " --tier exact",     " --tier exact",      " --case tokens:7/",
        " --tier bitwise",      " --tier exact",
    };
    const char *const interpreter = python();
    SKIP_WITHOUT_NUMPY(interpreter);
    for (size_t i = 0; i < sizeof where / sizeof *where; ++i) {
        const outcome *got = run(ADAMOE " check --command '%s " SCRIPT("mistakes") " %zu' --kernel mistaken "
                                                                                   "--fail-fast%s",
                                 interpreter, i + 1, where[i]);
        if (got->code != 1 || strstr(got->text, "index [") == NULL) {
            fail_msg("mistake %zu: exit code %d, expected 1; printed: %s", i + 1, got->code, got->text);
        }
        expect_nothing_running("mistakes.py");
    }
}

static void broken_python_fails_one_case(void **state)
{
    (void)state;
    static const struct {
        const char *how, *message;
    } cases[] = {
        {"import", "load: announcement: it ended with exit code 1"},
        {"raise", "experts: IndexError: expert 8 is out of range (broken.py, line "},
        {"abort", "experts: it was ended by signal 6"},
        {"shape", "returned an array of shape (1, 32), expected (1, 33)"},
        {"print", "it wrote to its standard output, which is not for it: `tokens: 1"},
        {"write", "ValueError: assignment destination is read-only"},
        {"between", "it ended with exit code 4"},
    };
    const char *const interpreter = python();
    SKIP_WITHOUT_NUMPY(interpreter);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        expect_one_failure(run(ADAMOE
                               " check --command '%s " SCRIPT("broken") " %s' --kernel broken" ZERO_CASE,
                               interpreter, cases[i].how),
                           cases[i].message);
        expect_nothing_running("broken.py");
    }
    expect(
        run(ADAMOE " check --command '%s " SCRIPT("broken") " skip' --kernel broken" ZERO_CASE, interpreter),
        0, "skipped 1: experts: only batches of one");
    expect_one_failure(run(ADAMOE " check --command '%s " SCRIPT("broken") " loop' --kernel broken" ZERO_CASE
                                                                           " --timeout 4",
                           interpreter),
                       "hung: no result after 4 s");
    expect_nothing_running("broken.py");
}

static void a_device_that_only_copies_reach(void **state)
{
    (void)state;
    const char *const interpreter = python();
    SKIP_WITHOUT_NUMPY(interpreter);
    expect(run(ADAMOE " check --command '%s " SCRIPT(
                   "device") "' --kernel mock-device --tier bound --case tokens:7/",
               interpreter),
           0, " 0 failed");
}

/* The adapter of bench/peers that CI can run: Debian's python3-torch. */
static void pytorch_is_judged(void **state)
{
    (void)state;
    const char *const interpreter = python();
    if (interpreter == NULL || run("%s -c 'import torch'", interpreter)->code != 0) {
        print_message("skipped: there is no Python with PyTorch (python3-torch)\n");
        skip();
    }
    expect(run(ADAMOE " check --command '%s \"" SOURCE_PATH(
                   "bench/peers/torch_eager.py") "\"' --kernel torch-eager "
                                                 "--tier exact --case tokens:7/ --jobs 1",
               interpreter),
           0, " 0 failed");
}

static void helpers_in_python(void **state)
{
    (void)state;
    const char *const interpreter = python();
    SKIP_WITHOUT_NUMPY(interpreter);
    expect(run("%s '" SOURCE_PATH("tests/kernels/remote/helpers.py") "'", interpreter), 0,
           "all of the helpers do what they say");
    expect(run("%s '" SOURCE_PATH("kernels/remote/example.py") "'", interpreter), 1,
           "for `adamoe check --command");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_c_client_passes),
        cmocka_unit_test(other_verbs_take_it),
        cmocka_unit_test(broken_ones_fail_one_case),
        cmocka_unit_test(broken_ones_do_not_disturb),
        cmocka_unit_test(other_verbs_exit_with_their_codes),
        cmocka_unit_test(the_numpy_kernel_passes),
        cmocka_unit_test(the_numpy_kernel_computes_models),
        cmocka_unit_test(mistakes_are_caught),
        cmocka_unit_test(broken_python_fails_one_case),
        cmocka_unit_test(a_device_that_only_copies_reach),
        cmocka_unit_test(pytorch_is_judged),
        cmocka_unit_test(helpers_in_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The option --command with kernels in Python: the example, ten mistakes, broken ones, a mock device, PyTorch. Skips,
 * visibly, where there is no NumPy, and what needs PyTorch where there is none.
 */
#include "bench/command.h"

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
        expect_nothing_running(SOURCE_PATH("tests/kernels/remote/mistakes.py"));
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
        expect_nothing_running(SOURCE_PATH("tests/kernels/remote/broken.py"));
    }
    expect(
        run(ADAMOE " check --command '%s " SCRIPT("broken") " skip' --kernel broken" ZERO_CASE, interpreter),
        0, "skipped 1: experts: only batches of one");
    expect_one_failure(run(ADAMOE " check --command '%s " SCRIPT("broken") " loop' --kernel broken" ZERO_CASE
                                                                           " --timeout 4",
                           interpreter),
                       "hung: no result after 4 s");
    expect_nothing_running(SOURCE_PATH("tests/kernels/remote/broken.py"));
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

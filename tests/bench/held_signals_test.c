/*
 * Signals that end the program wait while they are held.
 */
#include "test.h"
#include "program/held_signals.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Runs `body` in a process of its own; returns how that ended, as waitpid says. */
static int run_apart(void (*body)(int number), int number)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(number, SIG_DFL); /* who runs the tests may ignore it */
        body(number);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void hold_and_raise(int number)
{
    adamoe_hold_signals();
    (void)raise(number);
    _exit(17);
}

static void raise_and_release(int number)
{
    adamoe_hold_signals();
    (void)raise(number);
    adamoe_release_signals();
    _exit(17);
}

static void raise_twice(int number)
{
    adamoe_hold_signals();
    (void)raise(number);
    (void)raise(number);
    _exit(17);
}

static void release_and_raise(int number)
{
    adamoe_hold_signals();
    adamoe_release_signals();
    (void)raise(number);
    _exit(17);
}

static void ignored_and_released(int number)
{
    (void)signal(number, SIG_IGN);
    adamoe_hold_signals();
    (void)raise(number);
    (void)raise(number);
    adamoe_release_signals();
    (void)raise(number);
    _exit(17);
}

static bool is_ended_by(int status, int number)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == number;
}

static bool has_code(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static void each_of_them_waits(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; ++i) {
        assert_true(has_code(run_apart(hold_and_raise, signals[i]), 17));
        assert_true(is_ended_by(run_apart(raise_and_release, signals[i]), signals[i]));
        assert_true(is_ended_by(run_apart(raise_twice, signals[i]), signals[i]));
        assert_true(is_ended_by(run_apart(release_and_raise, signals[i]), signals[i]));
        assert_true(has_code(run_apart(ignored_and_released, signals[i]), 17));
    }
}

static void others_do_not_wait(void **state)
{
    (void)state;
    assert_true(is_ended_by(run_apart(hold_and_raise, SIGQUIT), SIGQUIT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_them_waits),
        cmocka_unit_test(others_do_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

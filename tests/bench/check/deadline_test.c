/*
 * What counts as the time of a case: the clock of a process that sleeps or spins, and not what others take from
 * it.
 */
#include "check/deadline.h"
#include "machine/clock.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define TIMEOUT 1

static void spin(void)
{
    for (volatile bool waiting = true; waiting;) {
    }
}

static void *spin_in_thread(void *nothing)
{
    spin();
    return nothing;
}

static void spin_in_four_threads(void)
{
    pthread_t thread;
    for (int i = 0; i < 3; ++i) {
        (void)pthread_create(&thread, NULL, spin_in_thread, NULL);
    }
    spin();
}

static void sleep_for_ever(void)
{
    for (;;) {
        (void)pause();
    }
}

/* A process that does this until it is killed, on one processor, which is the same for all. */
static pid_t start(void (*deed)(void))
{
    cpu_set_t one, all;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    const pid_t process = fork();
    assert_true(process >= 0);
    if (process > 0) {
        return process;
    }
    size_t first = 0;
    while (first < CPU_SETSIZE && !CPU_ISSET(first, &all)) {
        ++first;
    }
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    deed();
    _exit(0);
}

static void end(pid_t process)
{
    assert_int_equal(kill(process, SIGKILL), 0);
    assert_int_equal(waitpid(process, NULL, 0), process);
}

static adamoe_check_lateness look_for(adamoe_check_deadline *deadline, pid_t process, double seconds)
{
    const double until = adamoe_now() + seconds;
    adamoe_check_lateness found = ADAMOE_CHECK_IN_TIME;
    while (found == ADAMOE_CHECK_IN_TIME && adamoe_now() < until) {
        (void)usleep(50000);
        found = adamoe_check_deadline_look(deadline, process, TIMEOUT);
    }
    return found;
}

/* Seconds until the deadline calls it late. */
static double seconds_until_late(pid_t process)
{
    adamoe_check_deadline deadline = {0};
    const double begin = adamoe_now();
    adamoe_check_deadline_begin(&deadline, process, TIMEOUT);
    assert_int_equal(look_for(&deadline, process, 60.0), ADAMOE_CHECK_LATE);
    return adamoe_now() - begin;
}

static void who_sleeps_or_spins_is_late(void **state)
{
    (void)state;
    static void (*const deeds[])(void) = {sleep_for_ever, spin};
    for (size_t i = 0; i < 2; ++i) {
        const pid_t process = start(deeds[i]);
        const double seconds = seconds_until_late(process);
        end(process);
        print_message("late after %.2f s\n", seconds);
        assert_true(seconds >= TIMEOUT);
    }
}

/* Four of them are in each other's way: each waits three quarters of the time, and that is their own matter.
 * Others may be in their way too, but they have used up their second when they have had it between them. */
static void threads_that_spin_are_late_too(void **state)
{
    (void)state;
    const pid_t process = start(spin_in_four_threads);
    adamoe_check_deadline deadline = {0};
    adamoe_check_deadline_begin(&deadline, process, TIMEOUT);
    assert_int_equal(look_for(&deadline, process, 60.0), ADAMOE_CHECK_LATE);
    struct rusage usage;
    assert_int_equal(kill(process, SIGKILL), 0);
    assert_int_equal(wait4(process, NULL, 0, &usage), process);
    const double used = (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec;
    print_message("late after %.2f s of a processor\n", used);
    assert_true(used < 1.5 * TIMEOUT);
}

/* Nine others on its processor: after the time it has used a tenth of it. */
static void who_has_no_processor_is_not_late(void **state)
{
    (void)state;
    pid_t others[9];
    const pid_t process = start(spin);
    for (size_t i = 0; i < 9; ++i) {
        others[i] = start(spin);
    }
    const double seconds = seconds_until_late(process);
    for (size_t i = 0; i < 9; ++i) {
        end(others[i]);
    }
    end(process);
    print_message("late after %.2f s beside nine others\n", seconds);
    if (access("/proc/self/schedstat", R_OK) != 0) {
        print_message("skipped: the system does not tell who waits for a processor\n");
        skip();
    }
    assert_true(seconds >= 3.0 * TIMEOUT);
}

static void who_is_stopped_has_all_its_time_left(void **state)
{
    (void)state;
    const pid_t process = start(sleep_for_ever);
    adamoe_check_deadline deadline = {0};
    adamoe_check_deadline_begin(&deadline, process, TIMEOUT);
    for (int i = 0; i < 3; ++i) {
        assert_int_equal(kill(process, SIGSTOP), 0);
        assert_int_equal(look_for(&deadline, process, 0.7 * TIMEOUT), ADAMOE_CHECK_IN_TIME);
        assert_int_equal(kill(process, SIGCONT), 0);
        assert_int_equal(look_for(&deadline, process, 0.2 * TIMEOUT), ADAMOE_CHECK_IN_TIME);
    }
    assert_int_equal(kill(process, SIGSTOP), 0);
    assert_int_equal(look_for(&deadline, process, 10.0), ADAMOE_CHECK_STOPPED);
    assert_int_equal(kill(process, SIGCONT), 0);
    assert_int_equal(look_for(&deadline, process, 10.0), ADAMOE_CHECK_LATE);
    end(process);
}

/* As after a suspend: nobody looked. */
static void what_nobody_saw_does_not_count(void **state)
{
    (void)state;
    const pid_t process = start(sleep_for_ever);
    adamoe_check_deadline deadline = {0};
    adamoe_check_deadline_begin(&deadline, process, 2);
    (void)usleep(2500000);
    assert_int_equal(adamoe_check_deadline_look(&deadline, process, 2), ADAMOE_CHECK_IN_TIME);
    end(process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_sleeps_or_spins_is_late),
        cmocka_unit_test(threads_that_spin_are_late_too),
        cmocka_unit_test(who_has_no_processor_is_not_late),
        cmocka_unit_test(who_is_stopped_has_all_its_time_left),
        cmocka_unit_test(what_nobody_saw_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What the guarded buffers of `adamoe check` stop: in a child process, which ends by the fault.
 */
#include "check/call/memory.h"
#include "test.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES 64

typedef enum deed { READ_BEHIND, READ_BEFORE, WRITE_BEHIND, WRITE_BEFORE, READ_FREED } deed;

/* One float beyond the end that touches a page, or in a buffer that was freed. */
static void commit(deed what, bool reads_allowed)
{
    adamoe_guarded buffer;
    const adamoe_guard_end end =
        what == READ_BEHIND || what == WRITE_BEHIND ? ADAMOE_GUARD_BACK : ADAMOE_GUARD_FRONT;
    if (reads_allowed) {
        adamoe_guarded_allow_reads();
    }
    if (adamoe_guarded_create(BYTES, sizeof(float), end, &buffer).code != ADAMOE_OK) {
        _exit(2);
    }
    volatile float *at = (volatile float *)(void *)(end == ADAMOE_GUARD_BACK ? buffer.data + BYTES
                                                                             : buffer.body - sizeof(float));
    if (what == READ_FREED) {
        at = (volatile float *)(void *)buffer.data;
        adamoe_guarded_free(&buffer);
    }
    if (what == WRITE_BEHIND || what == WRITE_BEFORE) {
        *at = 1.0f;
        _exit(0);
    }
    _exit(isnan(*at) ? 3 : 0);
}

/* The signal that ended it, or minus its exit code. */
static int outcome_of(deed what, bool reads_allowed)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* also under a sanitizer */
        commit(what, reads_allowed);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void every_access_beyond_is_a_fault(void **state)
{
    (void)state;
    for (int what = READ_BEHIND; what <= READ_FREED; ++what) {
        assert_int_equal(outcome_of((deed)what, false), SIGSEGV);
    }
}

static void readable_guards_hold_nans_and_stop_writes(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(READ_BEHIND, true), -3);
    assert_int_equal(outcome_of(READ_BEFORE, true), -3);
    assert_int_equal(outcome_of(WRITE_BEHIND, true), SIGSEGV);
    assert_int_equal(outcome_of(WRITE_BEFORE, true), SIGSEGV);
}

/* As new: whatever its pages held before, and however little of them could be touched. */
static void pages_are_used_again(void **state)
{
    (void)state;
    adamoe_guarded first, second;
    const float values[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    assert_ok(adamoe_guarded_copy(values, sizeof values, 4, ADAMOE_GUARD_BACK, &first));
    const unsigned char *body = first.body;
    adamoe_guarded_close(&first);
    adamoe_guarded_free(&first);
    assert_ok(adamoe_guarded_create(BYTES, sizeof(float), ADAMOE_GUARD_FRONT, &second));
    assert_ptr_equal(second.body, body);
    assert_true(adamoe_guarded_intact(&second));
    for (size_t i = 0; i < BYTES; ++i) {
        assert_int_equal(second.data[i], 0xff);
    }
    assert_ok(adamoe_guarded_create(BYTES, sizeof(float), ADAMOE_GUARD_FRONT, &first));
    assert_ptr_not_equal(first.body, body);
    adamoe_guarded_free(&first);
    adamoe_guarded_free(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_access_beyond_is_a_fault),
        cmocka_unit_test(readable_guards_hold_nans_and_stop_writes),
        cmocka_unit_test(pages_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What the guarded buffers of `adamoe check` stop: in a child process, which ends by the fault.
 */
#include "check/call/kept.h"
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

/* A renewed buffer begins where it did, can be written again, and is filled unless it is to be as it was left. */
static void renewed_buffers_stay_where_they_are(void **state)
{
    adamoe_guarded b = {0};
    (void)state;
    assert_ok(adamoe_guarded_renew(16 * BYTES, sizeof(float), false, &b));
    unsigned char *const data = b.data;
    memset(data, 1, 16 * BYTES);
    assert_ok(adamoe_guarded_lock(&b));
    assert_ok(adamoe_guarded_renew(BYTES, sizeof(float), true, &b));
    assert_ptr_equal(b.data, data);
    assert_int_equal(data[BYTES - 1], 1);
    assert_true(adamoe_guarded_intact(&b));
    data[BYTES] = 1;
    assert_false(adamoe_guarded_intact(&b));
    assert_ok(adamoe_guarded_renew(2 * BYTES, sizeof(float), false, &b));
    assert_ptr_equal(b.data, data);
    assert_int_equal(data[0], 0xff);
    assert_true(adamoe_guarded_intact(&b));
    assert_ok(adamoe_guarded_renew(2000 * BYTES, sizeof(float), false, &b));
    assert_int_equal(b.bytes, 2000 * BYTES);
    assert_true(adamoe_guarded_intact(&b));
    adamoe_guarded_free(&b);
}

/* The arrays of a call of any size lie where those of the one before lay; its workspace holds every other time what
 * that left. */
static void kept_buffers_serve_call_after_call(void **state)
{
    enum { CALLS = 6, LARGEST = 8 };
    adamoe_kept *kept = NULL;
    unsigned char *first[2] = {NULL, NULL}, *first_work = NULL;
    size_t left = 0;
    (void)state;
    assert_ok(adamoe_kept_create(&kept));
    for (size_t call = 0; call < CALLS; ++call) {
        adamoe_guarded *buffer[2], work;
        adamoe_kept_begin(kept);
        for (size_t i = 0; i < 2; ++i) {
            assert_ok(adamoe_kept_take(kept, (LARGEST - call) * BYTES, sizeof(float), &buffer[i]));
            first[i] = call == 0 ? buffer[i]->data : first[i];
            assert_ptr_equal(buffer[i]->data, first[i]);
            assert_int_equal(buffer[i]->data[0], 0xff);
            memset(buffer[i]->data, 1, buffer[i]->bytes);
        }
        assert_ptr_not_equal(first[0], first[1]);
        assert_ok(adamoe_kept_work(kept, BYTES, 64, &work));
        first_work = call == 0 ? work.data : first_work;
        assert_ptr_equal(work.data, first_work);
        left += work.data[BYTES - 1] == 1;
        memset(work.data, 1, BYTES);
    }
    assert_int_equal(left, CALLS / 2);
    adamoe_kept_free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_access_beyond_is_a_fault),
        cmocka_unit_test(readable_guards_hold_nans_and_stop_writes),
        cmocka_unit_test(pages_are_used_again),
        cmocka_unit_test(renewed_buffers_stay_where_they_are),
        cmocka_unit_test(kept_buffers_serve_call_after_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

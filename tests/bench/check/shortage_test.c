/*
 * What adamoe_check_shortage says in a process that lacks something, and of one that does not.
 */
#include "check/shortage.h"
#include "check/call/memory.h"
#include "sanitized.h"
#include "test.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void limit(__rlimit_resource_t resource, rlim_t most)
{
    const struct rlimit both = {most, most};
    (void)setrlimit(resource, &both);
}

static void few_addresses(void)
{
    limit(RLIMIT_AS, (rlim_t)1 << 30);
}

static void few_descriptors(void)
{
    limit(RLIMIT_NOFILE, 16);
}

static void little_stack(void)
{
    limit(RLIMIT_STACK, (rlim_t)256 << 10);
}

/* As many as the system allows, but for some hundred. */
static void many_regions(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), most = (size_t)1 << 21;
    char *pages = mmap(NULL, 2 * most * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t i = 0;
    while (pages != MAP_FAILED && i < most && mprotect(pages + 2 * i * page, page, PROT_READ) == 0) {
        ++i;
    }
    for (size_t given = 0; given < 100 && i > 0; ++given) {
        --i;
        (void)mprotect(pages + 2 * i * page, page, PROT_NONE);
    }
}

static void nothing(void)
{
}

/* What a child process finds after the deed, or "" where nothing is short. */
static void find_in_child(void (*deed)(void), char *text, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        deed();
        const adamoe_status status = adamoe_check_shortage(2, 10);
        if (status.code == ADAMOE_ENVIRONMENT) {
            (void)!write(ends[1], status.message, strlen(status.message));
        }
        _exit(status.code == ADAMOE_OK || status.code == ADAMOE_ENVIRONMENT ? 0 : 1);
    }
    (void)close(ends[1]);
    const ssize_t length = read(ends[0], text, size - 1);
    text[length > 0 ? length : 0] = '\0';
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void what_is_short_is_named(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    static const struct {
        void (*deed)(void);
        const char *says;
    } shortages[] = {{few_addresses, "no 2 GB of addresses (Cannot allocate memory); a larger `ulimit -v'"},
                     {few_descriptors, "no 32 descriptors (Too many open files); a larger `ulimit -n'"},
                     {little_stack, "less than 1 MB of stack"},
                     {many_regions, "no 4,096 regions of memory (Cannot allocate memory); a larger sysctl "
                                    "vm.max_map_count"}};
    char text[600];
    find_in_child(nothing, text, sizeof text);
    assert_string_equal(text, "");
    for (size_t i = 0; i < sizeof shortages / sizeof *shortages; ++i) {
        find_in_child(shortages[i].deed, text, sizeof text);
        if (strstr(text, shortages[i].says) == NULL) {
            fail_msg("expected \"%s\", got \"%s\"", shortages[i].says, text);
        }
    }
}

/* No guard page: an error of the environment, not a buffer without one. */
static void a_guard_that_cannot_be_is_reported(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        many_regions();
        adamoe_guarded buffer;
        adamoe_status status = adamoe_ok();
        for (int i = 0; i < 1000 && status.code == ADAMOE_OK; ++i) {
            status = adamoe_guarded_create(64, 4, ADAMOE_GUARD_BACK, &buffer);
        }
        _exit((int)status.code);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == ADAMOE_ENVIRONMENT);
}

static void limits_are_described(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char text[160];
        limit(RLIMIT_AS, (rlim_t)1 << 30);
        limit(RLIMIT_NOFILE, 16);
        adamoe_check_describe_limits(text, sizeof text);
        _exit(strstr(text, "; here `ulimit -v' is 1048576,") == text &&
                      strstr(text, " `ulimit -n' is 16") != NULL
                  ? 0
                  : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_short_is_named),
        cmocka_unit_test(a_guard_that_cannot_be_is_reported),
        cmocka_unit_test(limits_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

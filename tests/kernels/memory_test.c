/*
 * How much memory is left, from trees of files as the system shows them: control groups of both versions,
 * limits that are none, a parent tighter than its child, groups that are not mounted.
 */
#include "temporary_folder.h"
#include "machine/memory.h"

/* Writes FOLDER/NAME, with the folders on the way. */
static void put(void **state, const char *name, const char *text)
{
    folder_path path = in_folder(state, name);
    for (char *slash = strchr(path.text + strlen(*state) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(path.text, 0700) == 0 || access(path.text, W_OK) == 0);
        *slash = '/';
    }
    write_text(path.text, text);
}

#define GROUP_2 "sys/fs/cgroup/user/job/"
#define GROUP_1 "sys/fs/cgroup/memory/user/job/"

static void put_version_2(void **state)
{
    put(state, "proc/meminfo", "MemTotal:       9000 kB\nMemAvailable:   8000 kB\n");
    put(state, "proc/self/cgroup", "0::/user/job\n");
    put(state, GROUP_2 "memory.max", "1000000\n");
    put(state, GROUP_2 "memory.current", "700000\n");
    put(state, GROUP_2 "memory.stat", "anon 350000\nfile 300000\nfile_mapped 7\nshmem 50000\n");
}

static void nothing_tells(void **state)
{
    assert_true(adamoe_available_memory_under(*state) == SIZE_MAX);
}

static void the_system_alone(void **state)
{
    put(state, "proc/meminfo", "MemTotal:       9000 kB\nMemAvailable:   8000 kB\n");
    assert_int_equal(adamoe_available_memory_under(*state), 8000 * 1024);
}

/* What is used, less the files that can be dropped: 700000 - (300000 - 50000), of 1000000. */
static void version_2(void **state)
{
    put_version_2(state);
    assert_int_equal(adamoe_available_memory_under(*state), 550000);
    put(state, GROUP_2 "memory.high", "max\n");
    assert_int_equal(adamoe_available_memory_under(*state), 550000);
    put(state, GROUP_2 "memory.high", "800000\n");
    assert_int_equal(adamoe_available_memory_under(*state), 350000);
    put(state, GROUP_2 "memory.high", "400000\n");
    assert_int_equal(adamoe_available_memory_under(*state), 0);
}

static void no_limit(void **state)
{
    put_version_2(state);
    put(state, GROUP_2 "memory.max", "max\n");
    assert_int_equal(adamoe_available_memory_under(*state), 8000 * 1024);
    put(state, GROUP_2 "memory.high", "900000\n");
    assert_int_equal(adamoe_available_memory_under(*state), 450000);
}

static void a_parent_tighter_than_its_child(void **state)
{
    put_version_2(state);
    put(state, "sys/fs/cgroup/user/memory.max", "2000000\n");
    put(state, "sys/fs/cgroup/user/memory.current", "1900000\n");
    assert_int_equal(adamoe_available_memory_under(*state), 100000);
    put(state, "sys/fs/cgroup/memory.max", "1950000\n");
    put(state, "sys/fs/cgroup/memory.current", "1930000\n");
    assert_int_equal(adamoe_available_memory_under(*state), 20000);
}

/* A container may see the path of its group outside, of which nothing is mounted inside but the top. */
static void a_group_that_is_not_mounted(void **state)
{
    put(state, "proc/meminfo", "MemAvailable:   8000 kB\n");
    put(state, "proc/self/cgroup", "0::/outside/of/here\n");
    assert_int_equal(adamoe_available_memory_under(*state), 8000 * 1024);
    put(state, "sys/fs/cgroup/memory.max", "3000\n");
    put(state, "sys/fs/cgroup/memory.current", "1000\n");
    assert_int_equal(adamoe_available_memory_under(*state), 2000);
}

/* Version 1 has a line for each controller; 9223372036854771712 is its "max". */
static void version_1(void **state)
{
    put(state, "proc/meminfo", "MemAvailable:   8000 kB\n");
    put(state, "proc/self/cgroup", "12:cpu,cpuacct:/elsewhere\n5:memory:/user/job\n0::/none\n");
    put(state, GROUP_1 "memory.limit_in_bytes", "1000000\n");
    put(state, GROUP_1 "memory.usage_in_bytes", "900000\n");
    put(state, GROUP_1 "memory.stat",
        "cache 1\nshmem 2\ntotal_cache 400000\ntotal_rss 5\ntotal_shmem 100000\n");
    assert_int_equal(adamoe_available_memory_under(*state), 400000);
    put(state, GROUP_1 "memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(adamoe_available_memory_under(*state), 8000 * 1024);
    put(state, "sys/fs/cgroup/memory/user/memory.limit_in_bytes", "500\n");
    assert_int_equal(adamoe_available_memory_under(*state), 500);
}

static void the_machine_itself(void **state)
{
    (void)state;
    SKIP_WITHOUT("/proc/meminfo");
    assert_in_range(adamoe_available_memory(), 1u << 20, SIZE_MAX - 1);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(nothing_tells),
        IN_FOLDER(the_system_alone),
        IN_FOLDER(version_2),
        IN_FOLDER(no_limit),
        IN_FOLDER(a_parent_tighter_than_its_child),
        IN_FOLDER(a_group_that_is_not_mounted),
        IN_FOLDER(version_1),
        cmocka_unit_test(the_machine_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What tests of the option --command share: one failed case, no more, and no process that is left over.
 */
#ifndef ADAMOE_TESTS_BENCH_COMMAND_H
#define ADAMOE_TESTS_BENCH_COMMAND_H

#include "program.h"
#include "test.h"

#include <ctype.h>

/* A case whose expected values are 0, so that nothing but the misdeed of one who computes nothing is wrong. */
#define ZERO_CASE " --case exact/experts/d:33/ff:33/n:1/m:3/k:2/tokens:1/routing:random/weights:f32"

static inline size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        ++count;
    }
    return count;
}

/* Whether a process runs in whose command line `part` is; one that only waits to be asked how it ended does not. */
static inline bool is_running(const char *part)
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

/* Waits a little: what is killed takes a moment. `part` has the path of the test's own build or source: another suite may run
 * on the machine. */
static inline void expect_nothing_running(const char *part)
{
    for (int i = 0; i < 100 && is_running(part); ++i) {
        (void)usleep(20000);
    }
    assert_false(is_running(part));
}

static inline void expect_one_failure(const outcome *got, const char *message)
{
    expect(got, 1, message);
    if (count_of(got->text, "FAILED ") != 1) {
        fail_msg("%zu failed cases, expected one: %s", count_of(got->text, "FAILED "), got->text);
    }
}

#endif

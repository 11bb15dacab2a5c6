/*
 * adamoe check where the system is short of something, or somebody interferes: the run goes on, or ends with
 * exit code 4 and the reason. No kernel is accused.
 */
#include "sanitized.h"
#include "program.h"
#include "test.h"

#include <dirent.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>

#define CHECK "exec " ADAMOE " check --jobs 2 --threads 2 "

/* Some seconds of it: cases of all tiers but model. And a second of it, without the tier that calls one object some
 * hundred times: what is short is short for the others too. */
#define LONG "--kernel reference --case /tokens:7/"
#define SOME LONG " --tier exact --tier bound --tier bitwise --tier routing"
/* Many threads. */
#define THREADS "--kernel avx2-f32 --kernel reference --case bitwise/threads/"

static void expect_no_accusation(const outcome *got, const char *what)
{
    print_message("%s: exit code %d%s\n", what, got->code, got->code == 0 ? "" : ":");
    if (got->code != 0) {
        print_message("  %s", got->text);
    }
    if ((got->code != 0 && got->code != 4) || strstr(got->text, "FAILED") != NULL) {
        fail_msg("%s: exit code %d: %s", what, got->code, got->text);
    }
}

/* It ends, in one line that says what helps. */
static void expect_end(const outcome *got, const char *what, const char *help)
{
    expect_no_accusation(got, what);
    expect(got, 4, "adamoe check: no verdict");
    expect(got, 4, help);
    assert_ptr_equal(strchr(got->text, '\n'), got->text + strlen(got->text) - 1);
}

/* The same, and the line names the case. */
static void expect_no_verdict(const outcome *got, const char *what, const char *help)
{
    expect_end(got, what, help);
    expect(got, 4, "adamoe check: no verdict on ");
}

static void little_address_space(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    expect_no_accusation(run("ulimit -v 200000; " CHECK LONG), "200 MB of addresses");
    expect_no_accusation(run("ulimit -v 200000; " CHECK THREADS), "200 MB of addresses, many threads");
    expect_no_verdict(run("ulimit -v 80000; " CHECK THREADS), "80 MB of addresses, many threads",
                      "here `ulimit -v' is 80000");
}

/* The most processes are those of a user, and root has no limit. Where an ordinary user's other processes take the rest,
 * other tests for one, not even the kernels can be listed, and no case is named. */
static void few_processes(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    const char *other = getuid() == 0 ? "setpriv --reuid=65534 --clear-groups " : "";
    char line[2048];
    const int most[] = {12, 2};
    if (run("%sprlimit --nproc=100 " ADAMOE " --version", other)->code != 0) {
        print_message(
            "skipped: root has no such limit, and no setpriv, no prlimit, or the program is not for "
            "others\n");
        skip();
    }
    for (size_t i = 0; i < 2; ++i) {
        (void)snprintf(line, sizeof line, "exec %sprlimit --nproc=%d " ADAMOE " check --jobs 2 --threads 2 ",
                       other, most[i]);
        expect_no_accusation(run("%s" SOME, line), "12 or 2 processes");
        expect_end(run("%s" THREADS, line), "12 or 2 processes, many threads", "`ulimit -u'");
    }
}

/* None but the standard ones, whatever the test was started with. */
#define ALONE "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; "

static void few_descriptors(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    expect_no_verdict(run(ALONE "ulimit -n 5; " CHECK SOME), "5 descriptors", "a larger `ulimit -n' helps");
    for (int limit = 6; limit <= 10; ++limit) {
        char line[1024];
        (void)snprintf(line, sizeof line, "%d descriptors", limit);
        expect_no_accusation(run(ALONE "ulimit -n %d; " CHECK SOME, limit), line);
    }
}

static bool try_to_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    const bool written = file != NULL && fputs(text, file) >= 0;
    return (file == NULL || fclose(file) == 0) && written;
}

/* A group of processes that has so many MB between them, or false. Of either version. */
static bool make_small_group(unsigned megabytes, char *folder, size_t size)
{
    static const char *const roots[][2] = {{"/sys/fs/cgroup", "memory.max"},
                                           {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}};
    for (size_t i = 0; i < 2; ++i) {
        char limit[512], bytes[32];
        (void)snprintf(bytes, sizeof bytes, "%u", megabytes << 20);
        (void)snprintf(folder, size, "%s/adamoe-%d", roots[i][0], (int)getpid());
        if (mkdir(folder, 0755) == 0) {
            (void)snprintf(limit, sizeof limit, "%s/%s", folder, roots[i][1]);
            if (access(limit, W_OK) == 0 && try_to_write(limit, bytes)) {
                return true;
            }
            (void)rmdir(folder);
        }
    }
    return false;
}

static void little_memory(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    static const unsigned megabytes[] = {30, 8};
    for (size_t i = 0; i < 2; ++i) {
        char folder[256], what[80];
        if (!make_small_group(megabytes[i], folder, sizeof folder)) {
            print_message("skipped: no control group with a limit of memory can be made here\n");
            skip();
        }
        (void)snprintf(what, sizeof what, "%u MB of memory", megabytes[i]);
        const outcome got =
            *run("echo 0 > %s/cgroup.procs; " CHECK "--kernel reference --kernel onednn-f32 --case /d:70000/",
                 folder);
        for (int turn = 0; turn < 50 && rmdir(folder) != 0; ++turn) {
            (void)usleep(20000); /* until the system has buried its processes */
        }
        expect_no_accusation(&got, what);
    }
}

/* ------------------------------------------------------------------------------------------- interference */

extern char **environ;

typedef struct started {
    pid_t shell;
    folder_path text;
} started;

static started start(void **state, const char *arguments)
{
    started s = {.text = in_folder(state, "text")};
    char line[4096];
    (void)snprintf(line, sizeof line, CHECK "%s > '%s' 2>&1", arguments, s.text.text);
    const char *const command[] = {"sh", "-c", line, NULL};
    assert_int_equal(posix_spawn(&s.shell, "/bin/sh", NULL, NULL, (char *const *)(uintptr_t)command, environ),
                     0);
    return s;
}

/* A child process, which runs kernels; or 0. */
static pid_t child_of(pid_t parent)
{
    DIR *processes = opendir("/proc");
    assert_non_null(processes);
    pid_t found = 0;
    for (const struct dirent *entry = readdir(processes); entry != NULL && found == 0;
         entry = readdir(processes)) {
        char path[300];
        int process = 0, its_parent = 0;
        (void)snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (file != NULL) {
            const bool read = fscanf(file, "%d (%*[^)]) %*c %d", &process, &its_parent) == 2;
            found = read && its_parent == (int)parent ? (pid_t)process : 0;
            (void)fclose(file);
        }
    }
    (void)closedir(processes);
    return found;
}

static bool is_running(pid_t process)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)process, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* Until a child runs cases: `--work FROM:TO` on its command line, where the first one has `list`. */
static void wait_for_cases(const started *s)
{
    bool found = false;
    while (!found && is_running(s->shell)) {
        char path[64], line[4096];
        (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)child_of(s->shell));
        FILE *file = fopen(path, "r");
        const size_t size = file == NULL ? 0 : fread(line, 1, sizeof line - 1, file);
        if (file != NULL) {
            (void)fclose(file);
        }
        for (size_t i = 0; i + 8 < size; ++i) {
            found = found || (memcmp(line + i, "--work", 7) == 0 && line[i + 7] >= '0' && line[i + 7] <= '9');
        }
        (void)usleep(1000);
    }
}

/* Sends a signal to a child each so many milliseconds, so many times; returns how many times there was one. */
static int disturb(const started *s, int signal_number, int times, unsigned milliseconds)
{
    int sent = 0;
    for (int i = 0; i < 20000 && sent < times && is_running(s->shell); ++i) {
        const pid_t child = child_of(s->shell);
        (void)usleep(1000 * milliseconds);
        sent += child != 0 && kill(child, signal_number) == 0;
    }
    return sent;
}

static char state_of(pid_t process)
{
    char path[64], now = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        (void)fscanf(file, "%*d (%*[^)]) %c", &now);
        (void)fclose(file);
    }
    return now;
}

/* Stops a child that runs cases, and returns it. One that has just ended takes the signal too, to no effect: then the next. */
static pid_t stop_child(const started *s)
{
    wait_for_cases(s);
    while (is_running(s->shell)) {
        const pid_t child = child_of(s->shell);
        for (int i = 0; child != 0 && kill(child, SIGSTOP) == 0 && i < 1000; ++i) {
            if (state_of(child) == 'T') {
                return child;
            }
            (void)usleep(1000);
        }
    }
    fail_msg("all was done before a child was stopped");
    return 0;
}

static outcome *wait_for(const started *s)
{
    static outcome result;
    int status = 0;
    size_t size = 0;
    assert_int_equal(waitpid(s->shell, &status, 0), s->shell);
    char *text = read_bytes(s->text.text, &size);
    (void)snprintf(result.text, sizeof result.text, "%s", text);
    free(text);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return &result;
}

static void a_child_that_somebody_kills(void **state)
{
    started s = start(state, LONG);
    assert_int_equal(disturb(&s, SIGKILL, 1, 300), 1);
    expect(wait_for(&s), 0, "0 failed");
    s = start(state, LONG);
    wait_for_cases(&s);
    (void)disturb(&s, SIGKILL, 10000, 1);
    expect_no_verdict(wait_for(&s), "all children killed", "(Killed)");
}

static void a_child_that_somebody_stops(void **state)
{
    started s = start(state, "--timeout 20 " LONG);
    const pid_t child = stop_child(&s);
    (void)sleep(1);
    assert_int_equal(kill(child, SIGCONT), 0);
    expect_no_accusation(wait_for(&s), "a child stopped for a second");
    s = start(state, "--jobs 1 --timeout 1 " LONG);
    (void)stop_child(&s);
    const outcome *got = wait_for(&s);
    expect_no_accusation(got, "a child stopped for good");
    expect(got, 4, " has been stopped for 1 s, by a signal or a debugger; `kill -CONT ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_address_space),
        cmocka_unit_test(few_processes),
        cmocka_unit_test(few_descriptors),
        cmocka_unit_test(little_memory),
        cmocka_unit_test_setup_teardown(a_child_that_somebody_kills, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_child_that_somebody_stops, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

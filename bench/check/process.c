/*
 * Child processes of `adamoe check`: started, listened to, and ended when they take too long.
 */
#include "check/process.h"
#include "check/child.h"
#include "machine/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define ARGUMENTS 32

typedef struct command {
    const char *argument[ARGUMENTS];
    size_t count;
    char threads[24], seed[24], tiers[ADAMOE_TIERS][16];
} command;

static void add_option(command *c, const char *option, const char *value)
{
    c->argument[c->count++] = option;
    if (value != NULL) {
        c->argument[c->count++] = value;
    }
}

static void make_command(const adamoe_check_options *options, const char *work, const char *kernel,
                         command *c)
{
    *c = (command){.count = 0};
    add_option(c, "adamoe", "check");
    add_option(c, "--work", work);
    (void)snprintf(c->threads, sizeof c->threads, "%u", options->common.threads);
    (void)snprintf(c->seed, sizeof c->seed, "%" PRIu64, options->common.seed);
    add_option(c, "--seed", c->seed);
    if (options->common.threads != 0) {
        add_option(c, "--threads", c->threads);
    }
    if (options->common.numa != ADAMOE_NUMA_LOCAL) {
        add_option(c, "--numa", adamoe_numa_policy_names[options->common.numa]);
    }
    if (options->common.topology != NULL) {
        add_option(c, "--numa-topology", options->common.topology);
    }
    if (kernel != NULL) {
        add_option(c, "--kernel", kernel);
    }
    if (options->common.plugin != NULL) {
        add_option(c, "--plugin", options->common.plugin);
    }
    if (options->part != NULL) {
        add_option(c, "--case", options->part);
    }
    if (options->exhaustive) {
        add_option(c, "--exhaustive", NULL);
    }
    if (options->readable_guards) {
        add_option(c, "--readable-guards", NULL);
    }
    for (size_t i = 0; i < ADAMOE_TIERS; ++i) {
        if ((options->tiers >> i & 1u) != 0) {
            add_option(c, "--tier", adamoe_tier_names[i]);
        }
    }
}

/* How long the thread of the process that waited longest has waited for a processor, in seconds; 0 where the
 * system does not tell. On a busy machine that is no sign of a hang. */
static double processor_delay(pid_t process)
{
    char path[320];
    double longest = 0.0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *tasks = opendir(path);
    for (const struct dirent *entry = tasks == NULL ? NULL : readdir(tasks); entry != NULL;
         entry = readdir(tasks)) {
        unsigned long long waited = 0;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)process, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (file != NULL && fscanf(file, "%*u %llu", &waited) == 1) {
            longest = fmax(longest, 1e-9 * (double)waited);
        }
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    if (tasks != NULL) {
        (void)closedir(tasks);
    }
    return longest;
}

/* The delay is looked at once a second at most: a case may be given what the ones just before it waited. */
void adamoe_check_process_begin(adamoe_check_process *c, uint32_t timeout)
{
    c->begun = adamoe_now();
    c->deadline = c->begun + (double)timeout;
    if (c->begun - c->delay_taken > 1.0) {
        c->delay_then = processor_delay(c->id);
        c->delay_taken = c->begun;
    }
}

bool adamoe_check_process_is_late(adamoe_check_process *c, uint32_t timeout)
{
    const double now = adamoe_now();
    if (now < c->deadline) {
        return false;
    }
    const double delay = fmax(0.0, processor_delay(c->id) - c->delay_then);
    const double left = (double)timeout - (now - c->begun - delay);
    c->deadline = now + fmax(left, 0.1);
    return left <= 0.0;
}

/* What the child prints goes to standard error: standard output may be a file of results. */
adamoe_status adamoe_check_process_start(const adamoe_check_options *options, const char *work,
                                         const char *kernel, adamoe_check_process *out)
{
    command c;
    make_command(options, work, kernel, &c);
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: pipe: %s", strerror(errno));
    }
    int error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, ends[1], ADAMOE_CHECK_LINES) == 0 &&
                        posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO) == 0
                    ? posix_spawn(&out->id, "/proc/self/exe", &actions, NULL,
                                  (char *const *)(uintptr_t)c.argument, environ)
                    : ENOMEM;
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)close(ends[1]);
    if (error != 0) {
        (void)close(ends[0]);
        out->id = 0;
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: a child process cannot be started: %s",
                            strerror(error));
    }
    out->lines = ends[0];
    out->length = 0;
    out->hung = false;
    out->error = adamoe_ok();
    out->delay_taken = 0.0;
    adamoe_check_process_begin(out, options->timeout);
    return adamoe_ok();
}

static void note_error(adamoe_check_process *c, const json_t *json)
{
    const char *message = json_string_value(json_object_get(json, "error"));
    if (message != NULL) {
        c->error =
            adamoe_error((adamoe_code)json_integer_value(json_object_get(json, "code")), "%s", message);
    }
}

bool adamoe_check_process_listen(adamoe_check_process *c, void (*line)(void *context, const json_t *json),
                                 void *context)
{
    if (c->room - c->length < 65536) {
        char *text = realloc(c->text, c->room + 65536 * 2);
        if (text == NULL) {
            c->error = adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
            return false;
        }
        c->text = text;
        c->room += 65536 * 2;
    }
    const ssize_t got = read(c->lines, c->text + c->length, 65536);
    if (got <= 0) {
        return got < 0 && errno == EINTR;
    }
    c->length += (size_t)got;
    char *begin = c->text, *end;
    while ((end = memchr(begin, '\n', c->length - (size_t)(begin - c->text))) != NULL) {
        json_t *json = json_loadb(begin, (size_t)(end - begin), 0, NULL);
        note_error(c, json);
        line(context, json);
        json_decref(json);
        begin = end + 1;
    }
    c->length -= (size_t)(begin - c->text);
    memmove(c->text, begin, c->length);
    return true;
}

int adamoe_check_process_wait(adamoe_check_process *c)
{
    int status = 0;
    (void)close(c->lines);
    while (waitpid(c->id, &status, 0) < 0 && errno == EINTR) {
    }
    c->id = 0;
    return status;
}

void adamoe_check_describe_end(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status)) {
        (void)snprintf(text, size, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        (void)snprintf(text, size, "ended with exit code %d", WEXITSTATUS(status));
    }
}

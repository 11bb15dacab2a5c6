/*
 * Child processes of `adamoe check`: started, listened to, and ended when they take too long.
 */
#include "check/process.h"
#include "check/child.h"
#include "machine/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ten options with values, two without, a kernel, a tier and a command each, and the end. */
#define ARGUMENTS (2 + 10 * 2 + 2 + (ADAMOE_CHECK_KERNELS + ADAMOE_TIERS + ADAMOE_MOST_COMMANDS) * 2 + 1)

typedef struct command {
    const char *argument[ARGUMENTS];
    size_t count;
    char threads[24], seed[24], jobs[24], timeout[24];
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
    (void)snprintf(c->jobs, sizeof c->jobs, "%u", options->jobs);
    add_option(c, "--jobs", c->jobs);
    (void)snprintf(c->timeout, sizeof c->timeout, "%u", options->timeout);
    add_option(c, "--timeout", c->timeout);
    if (options->common.threads != 0) {
        add_option(c, "--threads", c->threads);
    }
    if (options->common.numa != ADAMOE_NUMA_LOCAL) {
        add_option(c, "--numa", adamoe_numa_policy_names[options->common.numa]);
    }
    if (options->common.topology != NULL) {
        add_option(c, "--numa-topology", options->common.topology);
    }
    for (size_t i = 0; kernel == NULL && i < options->kernels; ++i) {
        add_option(c, "--kernel", options->kernel[i]);
    }
    if (kernel != NULL) {
        add_option(c, "--kernel", kernel);
    }
    if (options->common.plugin != NULL) {
        add_option(c, "--plugin", options->common.plugin);
    }
    for (size_t i = 0; i < options->common.commands; ++i) {
        add_option(c, "--command", options->common.command[i]);
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

adamoe_status adamoe_check_process_look(adamoe_check_process *c, uint32_t timeout, bool *late)
{
    const adamoe_check_lateness lateness = adamoe_check_deadline_look(&c->deadline, c->id, timeout);
    *late = lateness == ADAMOE_CHECK_LATE;
    if (*late) {
        c->hung = true;
        (void)kill(c->id, SIGKILL);
    }
    return lateness != ADAMOE_CHECK_STOPPED
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT,
                              "process %d has been stopped for %u s, by a signal or a debugger; "
                              "`kill -CONT %d' in that time lets it go on",
                              (int)c->id, timeout, (int)c->id);
}

/* What the child prints goes to standard error: standard output may be a file of results. */
adamoe_status adamoe_check_process_start(const adamoe_check_options *options, const char *work,
                                         const char *kernel, adamoe_check_process *out)
{
    command c;
    make_command(options, work, kernel, &c);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: pipe: %s", strerror(errno));
    }
    const adamoe_passed passed[] = {{ends[1], ADAMOE_CHECK_LINES}, {STDERR_FILENO, STDOUT_FILENO}};
    const adamoe_status status = adamoe_spawn("/proc/self/exe", c.argument, passed, 2, &out->id);
    (void)close(ends[1]);
    if (status.code != ADAMOE_OK) {
        (void)close(ends[0]);
        out->id = 0;
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: a child process cannot be started: %s",
                            status.message);
    }
    out->lines = ends[0];
    out->length = 0;
    out->started = false;
    out->hung = false;
    out->error = adamoe_ok();
    out->deadline = (adamoe_check_deadline){0};
    adamoe_check_deadline_begin(&out->deadline, out->id, options->timeout);
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
        c->started = c->started || json != NULL;
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

/* Sent by people, by the system for want of memory, or where a limit is reached. */
static bool comes_from_outside(int signal_number)
{
    static const int outside[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGXCPU, SIGXFSZ};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; ++i) {
        if (signal_number == outside[i]) {
            return true;
        }
    }
    return false;
}

adamoe_check_blame adamoe_check_blame_for(const adamoe_check_process *c, int status, uint32_t timeout,
                                          char *text, size_t size)
{
    if (c->hung) {
        (void)snprintf(text, size, "hung: no result after %u s", timeout);
        return ADAMOE_CHECK_BLAME_KERNEL;
    }
    if (c->error.code == ADAMOE_ENVIRONMENT) {
        (void)snprintf(text, size, "%s", c->error.message);
        return ADAMOE_CHECK_BLAME_SYSTEM;
    }
    bool outside = !c->started;
    if (WIFSIGNALED(status)) {
        const int number = WTERMSIG(status);
        outside = outside || comes_from_outside(number);
        (void)snprintf(text, size, "ended by signal %d (%s)%s", number, strsignal(number),
                       number == SIGKILL
                           ? ", by somebody or for want of memory, of which more, or --jobs 1, helps"
                           : "");
    } else {
        (void)snprintf(text, size, "ended with exit code %d%s", WEXITSTATUS(status),
                       c->started ? "" : " before it began");
    }
    return outside ? ADAMOE_CHECK_BLAME_SYSTEM : ADAMOE_CHECK_BLAME_KERNEL;
}

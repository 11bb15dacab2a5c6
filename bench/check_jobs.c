/*
 * Child processes of `adamoe check`: started, listened to, and ended when they take too long.
 */
#include "check_jobs.h"
#include "check_child.h"
#include "clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* So many cases in one process: little enough that all jobs are busy until the end. */
#define SLICE 64

/* After so many a kernel's other cases are not tried: it has failed, and each would cost a process or a
 * timeout. */
#define MOST_CRASHES 40
#define MOST_HANGS   3

/* ------------------------------------------------------------------------------------------- one process */

typedef struct child {
    pid_t process; /* 0: none */
    int lines;
    char *text; /* what of a line has come so far */
    size_t length, room;
    double begun, deadline;         /* of its case; seconds of the monotonic clock */
    double delay_then, delay_taken; /* how long it had waited for a processor, and when that was looked at */
    bool hung;
    /* its work */
    adamoe_kernel_check *check;
    size_t next, to;
    bool running; /* `next` has begun */
    adamoe_status error;
} child;

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

/* A case has `timeout` seconds, not counting those in which it waited for a processor. The delay is looked at
 * once a second at most: a case may be given what the ones just before it waited. */
static void begin_clock(child *c, uint32_t timeout)
{
    c->begun = adamoe_now();
    c->deadline = c->begun + (double)timeout;
    if (c->begun - c->delay_taken > 1.0) {
        c->delay_then = processor_delay(c->process);
        c->delay_taken = c->begun;
    }
}

static bool is_late(child *c, uint32_t timeout)
{
    const double now = adamoe_now();
    if (now < c->deadline) {
        return false;
    }
    const double delay = fmax(0.0, processor_delay(c->process) - c->delay_then);
    const double left = (double)timeout - (now - c->begun - delay);
    c->deadline = now + fmax(left, 0.1);
    return left <= 0.0;
}

/* What the child prints goes to standard error: standard output may be a file of results. */
static adamoe_status start(const command *c, const adamoe_check_options *options, child *out)
{
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: pipe: %s", strerror(errno));
    }
    int error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, ends[1], ADAMOE_CHECK_LINES) == 0 &&
                        posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO) == 0
                    ? posix_spawn(&out->process, "/proc/self/exe", &actions, NULL,
                                  (char *const *)(uintptr_t)c->argument, environ)
                    : ENOMEM;
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)close(ends[1]);
    if (error != 0) {
        (void)close(ends[0]);
        out->process = 0;
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: a child process cannot be started: %s",
                            strerror(error));
    }
    out->lines = ends[0];
    out->length = 0;
    out->hung = false;
    out->running = false;
    out->error = adamoe_ok();
    out->delay_taken = 0.0;
    begin_clock(out, options->timeout);
    return adamoe_ok();
}

/* Calls `line` for each whole line that is there now; false where there will be no more. */
static bool listen_to(child *c, void (*line)(void *context, child *c, const json_t *json), void *context)
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
        line(context, c, json); /* NULL where the kernel wrote into its process's lines */
        json_decref(json);
        begin = end + 1;
    }
    c->length -= (size_t)(begin - c->text);
    memmove(c->text, begin, c->length);
    return true;
}

static int wait_for(child *c)
{
    int status = 0;
    (void)close(c->lines);
    while (waitpid(c->process, &status, 0) < 0 && errno == EINTR) {
    }
    c->process = 0;
    return status;
}

static void note_error(child *c, const json_t *json)
{
    const char *message = json_string_value(json_object_get(json, "error"));
    if (message != NULL) {
        c->error =
            adamoe_error((adamoe_code)json_integer_value(json_object_get(json, "code")), "%s", message);
    }
}

/* -------------------------------------------------------------------------------------------------- listing
 */

static void free_check(adamoe_kernel_check *check)
{
    for (size_t i = 0; i < check->count && check->cases != NULL; ++i) {
        free(check->cases[i]);
    }
    free(check->cases);
    free(check->results);
    free(check->name);
    free(check->why_not);
}

void adamoe_check_list_free(adamoe_kernel_checks *checks)
{
    for (size_t i = 0; i < checks->count; ++i) {
        free_check(&checks->kernel[i]);
    }
    free(checks->kernel);
    *checks = (adamoe_kernel_checks){0};
}

void adamoe_check_list_drop(adamoe_kernel_checks *checks, size_t i)
{
    free_check(&checks->kernel[i]);
    --checks->count;
    memmove(&checks->kernel[i], &checks->kernel[i + 1], (checks->count - i) * sizeof *checks->kernel);
}

static char *copy_text(const char *text)
{
    return text == NULL ? NULL : strdup(text);
}

/* The next place, zeroed; NULL without memory. */
static adamoe_kernel_check *add_check(adamoe_kernel_checks *checks, const char *name, size_t count)
{
    adamoe_kernel_check *grown = realloc(checks->kernel, (checks->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    checks->kernel = grown;
    adamoe_kernel_check *check = &grown[checks->count];
    *check = (adamoe_kernel_check){.name = copy_text(name),
                                   .cases = calloc(count + 1, sizeof *check->cases),
                                   .results = calloc(count + 1, sizeof *check->results),
                                   .count = count};
    ++checks->count;
    return check->name != NULL && check->cases != NULL && check->results != NULL ? check : NULL;
}

static adamoe_status add_listed(adamoe_kernel_checks *checks, const char *name, const json_t *json)
{
    const json_t *cases = json_object_get(json, "cases");
    const char *why_not = json_string_value(json_object_get(json, "why_not"));
    adamoe_kernel_check *check = add_check(checks, name, json_array_size(cases));
    bool complete = check != NULL;
    if (complete) {
        check->why_not = copy_text(why_not);
        complete = why_not == NULL || check->why_not != NULL;
    }
    for (size_t i = 0; complete && i < check->count; ++i) {
        check->cases[i] = copy_text(json_string_value(json_array_get(cases, i)));
        complete = check->cases[i] != NULL;
    }
    return complete ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

static adamoe_status add_failed_plugin(adamoe_kernel_checks *checks, const char *path, const char *message)
{
    adamoe_kernel_check *check = add_check(checks, path, 1);
    if (check == NULL || (check->cases[0] = copy_text("load")) == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    check->not_loaded = true;
    check->done = 1;
    check->results[0].status = ADAMOE_CHECK_FAILED;
    (void)snprintf(check->results[0].detail, sizeof check->results[0].detail, "%s", message);
    checks->plugin_failed = true;
    return adamoe_ok();
}

typedef struct listing {
    const adamoe_check_options *options;
    adamoe_kernel_checks *checks;
} listing;

static void listed_line(void *context, child *c, const json_t *json)
{
    const listing *l = context;
    const char *name = json_string_value(json_object_get(json, "kernel"));
    const char *plugin = json_string_value(json_object_get(json, "plugin"));
    if (c->error.code != ADAMOE_OK) {
        return;
    }
    note_error(c, json);
    if (name != NULL) {
        c->error = add_listed(l->checks, name, json);
    } else if (plugin != NULL) {
        c->error = add_failed_plugin(l->checks, l->options->common.plugin, plugin);
    }
}

static void describe_end(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status)) {
        (void)snprintf(text, size, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        (void)snprintf(text, size, "ended with exit code %d", WEXITSTATUS(status));
    }
}

/* Reads all lines; true in *whole where the child came to its end by itself. */
static adamoe_status list_once(const adamoe_check_options *options, adamoe_kernel_checks *out, bool *whole,
                               char *how, size_t how_size)
{
    command c;
    child one = {.process = 0};
    listing l = {options, out};
    make_command(options, "list", NULL, &c);
    ADAMOE_TRY(start(&c, options, &one));
    bool more = true;
    while (more) {
        struct pollfd waiting = {.fd = one.lines, .events = POLLIN};
        if (is_late(&one, options->timeout)) {
            (void)kill(one.process, SIGKILL);
            one.hung = true;
            break;
        }
        const int ready = poll(&waiting, 1, 200);
        more = ready <= 0 || listen_to(&one, listed_line, &l);
    }
    const int status = wait_for(&one);
    free(one.text);
    *whole = !one.hung && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    describe_end(status, how, how_size);
    if (one.hung) {
        (void)snprintf(how, how_size, "hung: nothing after %u s", options->timeout);
    }
    return one.error;
}

adamoe_status adamoe_check_list(const adamoe_check_options *options, adamoe_kernel_checks *out)
{
    bool whole = false;
    char how[160], message[240];
    *out = (adamoe_kernel_checks){0};
    adamoe_status status = list_once(options, out, &whole, how, sizeof how);
    if (status.code == ADAMOE_OK && !whole && options->common.plugin != NULL) {
        adamoe_check_options without = *options;
        without.common.plugin = NULL;
        adamoe_check_list_free(out);
        (void)snprintf(message, sizeof message, "the process that loaded it %s", how);
        status = add_failed_plugin(out, options->common.plugin, message);
        if (status.code == ADAMOE_OK) {
            status = list_once(&without, out, &whole, how, sizeof how);
        }
    }
    if (status.code == ADAMOE_OK && !whole) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "check: the process that lists the kernels %s", how);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_check_list_free(out);
    }
    return status;
}

/* -------------------------------------------------------------------------------------------------- running
 */

typedef struct runner {
    const adamoe_check_options *options;
    adamoe_kernel_checks *checks;
    void (*ended)(void *context, const adamoe_kernel_check *check, size_t i);
    void *context;
    size_t kernel, from; /* the next slice begins here */
    child *children;     /* [options->jobs] */
} runner;

static void case_ended(runner *r, child *c)
{
    const bool failed = c->check->results[c->next].status == ADAMOE_CHECK_FAILED;
    c->check->stopped = c->check->stopped || (failed && r->options->fail_fast);
    ++c->check->done;
    c->running = false;
    r->ended(r->context, c->check, c->next++);
}

static void case_line(void *context, child *c, const json_t *json)
{
    runner *r = context;
    const json_t *begin = json_object_get(json, "begin"), *end = json_object_get(json, "end");
    note_error(c, json);
    begin_clock(c, r->options->timeout);
    if (json_is_integer(begin) && (size_t)json_integer_value(begin) == c->next) {
        c->running = true;
    } else if (json_is_integer(end) && (size_t)json_integer_value(end) == c->next && c->next < c->to &&
               adamoe_check_read_result(json, &c->check->results[c->next])) {
        case_ended(r, c);
    }
}

/* The case that was running, or should have begun, is what ended the process. */
static void fail_case(runner *r, child *c, int status)
{
    adamoe_check_result *result = &c->check->results[c->next];
    adamoe_case parsed;
    *result = (adamoe_check_result){.status = ADAMOE_CHECK_FAILED};
    result->tier = adamoe_parse_case(c->check->cases[c->next], &parsed) ? parsed.tier : ADAMOE_TIER_BOUND;
    if (c->hung) {
        ++c->check->hangs;
        (void)snprintf(result->detail, sizeof result->detail, "hung: no result after %u s",
                       r->options->timeout);
    } else {
        ++c->check->crashes;
        describe_end(status, result->detail, sizeof result->detail);
    }
    case_ended(r, c);
}

/* Cases that are not tried any more. */
static void give_up_on(runner *r, child *c)
{
    while (c->next < c->to) {
        adamoe_check_result *result = &c->check->results[c->next];
        *result = (adamoe_check_result){.status = ADAMOE_CHECK_SKIPPED};
        (void)snprintf(result->detail, sizeof result->detail, "%s",
                       c->check->stopped ? "not run: another case failed"
                                         : "not run: the kernel ended or hung its process too often");
        case_ended(r, c);
    }
}

static bool is_given_up(const adamoe_kernel_check *check)
{
    return check->stopped || check->crashes >= MOST_CRASHES || check->hangs >= MOST_HANGS;
}

static adamoe_status start_rest(runner *r, child *c)
{
    command command_line;
    char work[64];
    (void)snprintf(work, sizeof work, "%zu:%zu", c->next, c->to);
    make_command(r->options, work, c->check->name, &command_line);
    return start(&command_line, r->options, c);
}

static adamoe_status end_child(runner *r, child *c)
{
    const int status = wait_for(c);
    ADAMOE_TRY(c->error);
    if (c->next < c->to && !c->check->stopped) {
        fail_case(r, c, status);
    }
    if (is_given_up(c->check)) {
        give_up_on(r, c);
    }
    return c->next < c->to ? start_rest(r, c) : adamoe_ok();
}

/* The next slice of cases for a child that has none. */
static adamoe_status feed(runner *r, child *c)
{
    while (c->process == 0 && r->kernel < r->checks->count) {
        adamoe_kernel_check *check = &r->checks->kernel[r->kernel];
        const size_t count = check->why_not != NULL || check->not_loaded ? 0 : check->count;
        if (r->from >= count) {
            ++r->kernel;
            r->from = 0;
            continue;
        }
        c->check = check;
        c->next = r->from;
        c->to = count - r->from < SLICE ? count : r->from + SLICE;
        r->from = c->to;
        if (is_given_up(check)) {
            give_up_on(r, c);
        } else {
            ADAMOE_TRY(start_rest(r, c));
        }
    }
    return adamoe_ok();
}

static adamoe_status serve(runner *r, child *c, bool ready)
{
    if (ready && !listen_to(c, case_line, r)) {
        return end_child(r, c);
    }
    const bool late = is_late(c, r->options->timeout);
    if (late || c->check->stopped) {
        c->hung = late;
        (void)kill(c->process, SIGKILL);
        return end_child(r, c);
    }
    return adamoe_ok();
}

/* Waits for lines or for a deadline; false in *more where no child is left. */
static adamoe_status wait_and_serve(runner *r, struct pollfd *waiting, bool *more)
{
    const uint32_t jobs = r->options->jobs;
    *more = false;
    for (uint32_t i = 0; i < jobs; ++i) {
        if (r->children[i].process == 0) {
            ADAMOE_TRY(feed(r, &r->children[i]));
        }
        const bool alive = r->children[i].process != 0;
        waiting[i] = (struct pollfd){.fd = alive ? r->children[i].lines : -1, .events = POLLIN};
        *more = *more || alive;
    }
    if (!*more) {
        return adamoe_ok();
    }
    const int ready = poll(waiting, jobs, 200);
    for (uint32_t i = 0; i < jobs; ++i) {
        if (r->children[i].process != 0) {
            ADAMOE_TRY(serve(r, &r->children[i], ready > 0 && waiting[i].revents != 0));
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_run_all(const adamoe_check_options *options, adamoe_kernel_checks *checks,
                                   void (*ended)(void *context, const adamoe_kernel_check *check, size_t i),
                                   void *context)
{
    adamoe_check_options usable = *options;
    if (checks->plugin_failed) {
        usable.common.plugin = NULL;
    }
    runner r = {.options = &usable, .checks = checks, .ended = ended, .context = context};
    struct pollfd *waiting = calloc(options->jobs, sizeof *waiting);
    r.children = calloc(options->jobs, sizeof *r.children);
    adamoe_status status = waiting == NULL || r.children == NULL
                               ? adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory")
                               : adamoe_ok();
    bool more = status.code == ADAMOE_OK;
    while (more && status.code == ADAMOE_OK) {
        status = wait_and_serve(&r, waiting, &more);
    }
    for (uint32_t i = 0; i < options->jobs && r.children != NULL; ++i) {
        if (r.children[i].process != 0) {
            (void)kill(r.children[i].process, SIGKILL);
            (void)wait_for(&r.children[i]);
        }
        free(r.children[i].text);
    }
    free(waiting);
    free(r.children);
    return status;
}

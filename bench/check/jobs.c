/*
 * The run of `adamoe check`: slices of cases to child processes, and what comes of each case.
 */
#include "check/jobs.h"
#include "check/child.h"
#include "check/process.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* So many cases in one process: little enough that all jobs are busy until the end. */
#define SLICE 64

/* After so many a kernel's other cases are not tried: it has failed, and each would cost a process or a
 * timeout. */
#define MOST_CRASHES 40
#define MOST_HANGS   3

typedef struct runner runner;

/* A process and the slice of cases that it has. */
typedef struct worker {
    adamoe_check_process process;
    runner *runner;
    adamoe_kernel_check *check;
    size_t next, to;
    bool running; /* `next` has begun */
} worker;

struct runner {
    const adamoe_check_options *options;
    adamoe_kernel_checks *checks;
    void (*ended)(void *context, const adamoe_kernel_check *check, size_t i);
    void *context;
    size_t kernel, from; /* the next slice begins here */
    worker *workers;     /* [options->jobs] */
};

static void case_ended(runner *r, worker *c)
{
    const bool failed = c->check->results[c->next].status == ADAMOE_CHECK_FAILED;
    c->check->stopped = c->check->stopped || (failed && r->options->fail_fast);
    ++c->check->done;
    c->running = false;
    r->ended(r->context, c->check, c->next++);
}

static void case_line(void *context, const json_t *json)
{
    worker *c = context;
    runner *r = c->runner;
    const json_t *begin = json_object_get(json, "begin"), *end = json_object_get(json, "end");
    adamoe_check_process_begin(&c->process, r->options->timeout);
    if (json_is_integer(begin) && (size_t)json_integer_value(begin) == c->next) {
        c->running = true;
    } else if (json_is_integer(end) && (size_t)json_integer_value(end) == c->next && c->next < c->to &&
               adamoe_check_read_result(json, &c->check->results[c->next])) {
        case_ended(r, c);
    }
}

/* The case that was running, or should have begun, is what ended the process. */
static void fail_case(runner *r, worker *c, int status)
{
    adamoe_check_result *result = &c->check->results[c->next];
    adamoe_case parsed;
    *result = (adamoe_check_result){.status = ADAMOE_CHECK_FAILED};
    result->tier = adamoe_parse_case(c->check->cases[c->next], &parsed) ? parsed.tier : ADAMOE_TIER_BOUND;
    if (c->process.hung) {
        ++c->check->hangs;
        (void)snprintf(result->detail, sizeof result->detail, "hung: no result after %u s",
                       r->options->timeout);
    } else {
        ++c->check->crashes;
        adamoe_check_describe_end(status, result->detail, sizeof result->detail);
    }
    case_ended(r, c);
}

/* Cases that are not tried any more. */
static void give_up_on(runner *r, worker *c)
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

static adamoe_status start_rest(runner *r, worker *c)
{
    char work[64];
    (void)snprintf(work, sizeof work, "%zu:%zu", c->next, c->to);
    c->running = false;
    return adamoe_check_process_start(r->options, work, c->check->name, &c->process);
}

static adamoe_status end_child(runner *r, worker *c)
{
    const int status = adamoe_check_process_wait(&c->process);
    ADAMOE_TRY(c->process.error);
    if (c->next < c->to && !c->check->stopped) {
        fail_case(r, c, status);
    }
    if (is_given_up(c->check)) {
        give_up_on(r, c);
    }
    return c->next < c->to ? start_rest(r, c) : adamoe_ok();
}

/* The next slice of cases for a child that has none. */
static adamoe_status feed(runner *r, worker *c)
{
    while (c->process.id == 0 && r->kernel < r->checks->count) {
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

static adamoe_status serve(runner *r, worker *c, bool ready)
{
    if (ready && !adamoe_check_process_listen(&c->process, case_line, c)) {
        return end_child(r, c);
    }
    const bool late = adamoe_check_process_is_late(&c->process, r->options->timeout);
    if (late || c->check->stopped) {
        c->process.hung = late;
        (void)kill(c->process.id, SIGKILL);
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
        if (r->workers[i].process.id == 0) {
            ADAMOE_TRY(feed(r, &r->workers[i]));
        }
        const bool alive = r->workers[i].process.id != 0;
        waiting[i] = (struct pollfd){.fd = alive ? r->workers[i].process.lines : -1, .events = POLLIN};
        *more = *more || alive;
    }
    if (!*more) {
        return adamoe_ok();
    }
    const int ready = poll(waiting, jobs, 200);
    for (uint32_t i = 0; i < jobs; ++i) {
        if (r->workers[i].process.id != 0) {
            ADAMOE_TRY(serve(r, &r->workers[i], ready > 0 && waiting[i].revents != 0));
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
    r.workers = calloc(options->jobs, sizeof *r.workers);
    adamoe_status status = waiting == NULL || r.workers == NULL
                               ? adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory")
                               : adamoe_ok();
    for (uint32_t i = 0; i < options->jobs && r.workers != NULL; ++i) {
        r.workers[i].runner = &r;
    }
    bool more = status.code == ADAMOE_OK;
    while (more && status.code == ADAMOE_OK) {
        status = wait_and_serve(&r, waiting, &more);
    }
    for (uint32_t i = 0; i < options->jobs && r.workers != NULL; ++i) {
        if (r.workers[i].process.id != 0) {
            (void)kill(r.workers[i].process.id, SIGKILL);
            (void)adamoe_check_process_wait(&r.workers[i].process);
        }
        free(r.workers[i].process.text);
    }
    free(waiting);
    free(r.workers);
    return status;
}

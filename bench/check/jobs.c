/*
 * The run of `adamoe check`: slices of cases to child processes, and what comes of each case.
 *
 * Where a process ends before its work is done, its case is tried once more, in a process that first sees whether
 * anything is short, and that runs alone: all others are ended meanwhile, and repeat the cases that they were at.
 *
 *   the first time    the second time       is
 *   a fault           nothing is short      a failed case, also where it goes well now: faults need not repeat
 *   the system        it goes well          what it comes to; from then on one process runs at a time
 *   the system        a fault               a failed case
 *   either            the system, again     the end of the run, with the reason
 *
 * The system: check/process.h says when it is blamed. A hang is a failed case at once.
 */
#include "check/jobs.h"
#include "check/child.h"
#include "check/process.h"
#include "check/shortage.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* So many cases in one process: little enough that all jobs are busy until the end. */
#define SLICE 64

/* Where each of them starts another one, which may load libraries for a second or more. */
#define SLICE_OF_COMMAND 256

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
    size_t until; /* which of them its process was started for */
    bool again;   /* it tries `next` once more, alone */
    adamoe_check_blame blame;
    char how[256]; /* the first time ended */
} worker;

struct runner {
    const adamoe_check_options *options;
    adamoe_kernel_checks *checks;
    void (*ended)(void *context, const adamoe_kernel_check *check, size_t i);
    void *context;
    size_t kernel, from; /* the next slice begins here */
    worker *workers;     /* [options->jobs] */
    const worker *alone; /* the one that tries again; or NULL */
    uint32_t most;       /* processes at once */
};

static void case_ended(runner *r, worker *c)
{
    const bool failed = c->check->results[c->next].status == ADAMOE_CHECK_FAILED;
    c->check->stopped = c->check->stopped || (failed && r->options->fail_fast);
    ++c->check->done;
    r->ended(r->context, c->check, c->next++);
}

/* What a case that a fault ended at first comes to now. */
static void keep_first_fault(worker *c, adamoe_check_result *result)
{
    if (c->blame == ADAMOE_CHECK_BLAME_KERNEL && result->status != ADAMOE_CHECK_FAILED) {
        *result = (adamoe_check_result){.status = ADAMOE_CHECK_FAILED, .tier = result->tier};
        (void)snprintf(result->detail, sizeof result->detail, "%s; not so when tried again alone", c->how);
    }
}

static void case_line(void *context, const json_t *json)
{
    worker *c = context;
    runner *r = c->runner;
    const json_t *end = json_object_get(json, "end");
    adamoe_check_deadline_begin(&c->process.deadline, c->process.id, r->options->timeout);
    if (json_is_integer(end) && (size_t)json_integer_value(end) == c->next && c->next < c->until) {
        adamoe_check_result *result = &c->check->results[c->next];
        if (adamoe_check_read_result(json, result)) {
            if (c->again) {
                keep_first_fault(c, result);
                c->check->crashes += result->status == ADAMOE_CHECK_FAILED;
            }
            case_ended(r, c);
        }
    }
}

/* The case that was running, or should have begun, is what ended the process. */
static void fail_case(runner *r, worker *c, const char *how)
{
    adamoe_check_result *result = &c->check->results[c->next];
    adamoe_case parsed;
    *result = (adamoe_check_result){.status = ADAMOE_CHECK_FAILED};
    result->tier = adamoe_parse_case(c->check->cases[c->next], &parsed) ? parsed.tier : ADAMOE_TIER_BOUND;
    (void)snprintf(result->detail, sizeof result->detail, "%s", how);
    c->check->hangs += c->process.hung;
    c->check->crashes += !c->process.hung;
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

/* ---------------------------------------------------------------------------------------------- processes */

static void end_process(worker *c)
{
    (void)kill(c->process.id, SIGKILL);
    (void)adamoe_check_process_wait(&c->process);
}

/* Neither this time nor the first. */
static adamoe_status give_up(const worker *c, const char *reason)
{
    char limits[160], first[120];
    adamoe_check_describe_limits(limits, sizeof limits);
    (void)snprintf(first, sizeof first, "%.90s; ", c->how);
    return adamoe_error(ADAMOE_ENVIRONMENT, "no verdict on %.40s, %.110s: %stried again alone: %.160s%s",
                        c->check->name, c->check->cases[c->next], strcmp(reason, c->how) == 0 ? "" : first,
                        reason, limits);
}

static adamoe_status try_again(runner *r, worker *c, adamoe_check_blame blame, const char *how);

/* Without the commands that the kernel does not come from. */
static adamoe_check_options options_for(const adamoe_check_options *all, const adamoe_kernel_check *check)
{
    adamoe_check_options own = *all;
    own.common.commands = 0;
    if (check->command != ADAMOE_NO_COMMAND) {
        own.common.command[own.common.commands++] = all->common.command[check->command];
    }
    return own;
}

/* A process for the rest of the slice, or for the one case that is tried again. */
static adamoe_status start_rest(runner *r, worker *c)
{
    char work[80];
    c->until = c->again ? c->next + 1 : c->to;
    (void)snprintf(work, sizeof work, "%s%zu:%zu", c->again ? "again:" : "", c->next, c->until);
    const adamoe_check_options own = options_for(r->options, c->check);
    const adamoe_status status = adamoe_check_process_start(&own, work, c->check->name, &c->process);
    if (status.code != ADAMOE_ENVIRONMENT) {
        return status;
    }
    return c->again ? give_up(c, status.message) : try_again(r, c, ADAMOE_CHECK_BLAME_SYSTEM, status.message);
}

/* Ends all others: each repeats the case that it was at when it is started anew. */
static adamoe_status try_again(runner *r, worker *c, adamoe_check_blame blame, const char *how)
{
    for (uint32_t i = 0; i < r->options->jobs; ++i) {
        if (r->workers[i].process.id != 0) {
            end_process(&r->workers[i]);
        }
    }
    c->again = true;
    c->blame = blame;
    (void)snprintf(c->how, sizeof c->how, "%.250s", how);
    r->alone = c;
    return start_rest(r, c);
}

/* The process of a case that was tried again has ended, and the case has a result. */
static void go_on(runner *r, worker *c)
{
    r->alone = NULL;
    r->most = c->blame == ADAMOE_CHECK_BLAME_SYSTEM ? 1 : r->most;
    c->again = false;
}

/* The process has ended before its work was done. */
static adamoe_status judge_end(runner *r, worker *c, int status)
{
    char how[256];
    const adamoe_check_blame blame =
        adamoe_check_blame_for(&c->process, status, r->options->timeout, how, sizeof how);
    if (blame == ADAMOE_CHECK_BLAME_SYSTEM && c->again) {
        return give_up(c, how);
    }
    if (!c->again && !c->process.hung) {
        return try_again(r, c, blame, how);
    }
    fail_case(r, c, how);
    return adamoe_ok();
}

static adamoe_status end_child(runner *r, worker *c)
{
    const int status = adamoe_check_process_wait(&c->process);
    if (c->process.error.code != ADAMOE_ENVIRONMENT) {
        ADAMOE_TRY(c->process.error);
    }
    if (c->next < c->until && !c->check->stopped) {
        ADAMOE_TRY(judge_end(r, c, status));
    }
    if (c->process.id != 0) {
        return adamoe_ok(); /* the case is tried again */
    }
    if (c->again) {
        go_on(r, c);
    }
    if (is_given_up(c->check)) {
        give_up_on(r, c);
    }
    return adamoe_ok();
}

/* The next slice of cases for a child that has none. */
static adamoe_status feed(runner *r, worker *c)
{
    if (c->next < c->to) {
        return start_rest(r, c);
    }
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
        const size_t slice = check->command == ADAMOE_NO_COMMAND ? SLICE : SLICE_OF_COMMAND;
        c->to = count - r->from < slice ? count : r->from + slice;
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
    bool late;
    ADAMOE_TRY(adamoe_check_process_look(&c->process, r->options->timeout, &late));
    if (c->check->stopped) {
        (void)kill(c->process.id, SIGKILL);
    }
    return late || c->check->stopped ? end_child(r, c) : adamoe_ok();
}

static uint32_t running(const runner *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->options->jobs; ++i) {
        count += r->workers[i].process.id != 0;
    }
    return count;
}

/* Waits for lines or for a deadline; false in *more where no child is left. */
static adamoe_status wait_and_serve(runner *r, struct pollfd *waiting, bool *more)
{
    const uint32_t jobs = r->options->jobs;
    for (uint32_t i = 0; i < jobs; ++i) {
        if (r->workers[i].process.id == 0 && r->alone == NULL && running(r) < r->most) {
            ADAMOE_TRY(feed(r, &r->workers[i]));
        }
    }
    *more = running(r) > 0;
    for (uint32_t i = 0; i < jobs; ++i) {
        const bool alive = r->workers[i].process.id != 0;
        waiting[i] = (struct pollfd){.fd = alive ? r->workers[i].process.lines : -1, .events = POLLIN};
    }
    const int ready = *more ? poll(waiting, jobs, 200) : 0;
    for (uint32_t i = 0; i < jobs && *more; ++i) {
        /* One that was served before may have ended this one. */
        const bool same = r->workers[i].process.id != 0 && r->workers[i].process.lines == waiting[i].fd;
        if (same) {
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
    runner r = {
        .options = &usable, .checks = checks, .ended = ended, .context = context, .most = options->jobs};
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
            end_process(&r.workers[i]);
        }
        free(r.workers[i].process.text);
    }
    free(waiting);
    free(r.workers);
    return status;
}

/*
 * The list of `adamoe check`: which kernels there are and which cases each has. A child process makes it,
 * because loading a plugin already runs foreign code. What ends that process is a failed result; a plugin
 * that the registry refuses is bad input: there is nothing to judge.
 */
#include "check/jobs.h"
#include "check/process.h"
#include "check/shortage.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static void free_check(adamoe_kernel_check *check)
{
    for (size_t i = 0; i < check->count && check->cases != NULL; ++i) {
        free(check->cases[i]);
    }
    free(check->cases);
    free(check->results);
    free(check->name);
    free(check->why_not);
    json_decref(check->not_tried);
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
                                   .count = count,
                                   .command = ADAMOE_NO_COMMAND};
    ++checks->count;
    return check->name != NULL && check->cases != NULL && check->results != NULL ? check : NULL;
}

static adamoe_status add_listed(adamoe_kernel_checks *checks, const char *name, const json_t *json)
{
    const json_t *cases = json_object_get(json, "cases");
    const char *why_not = json_string_value(json_object_get(json, "why_not"));
    const json_t *command = json_object_get(json, "command");
    adamoe_kernel_check *check = add_check(checks, name, json_array_size(cases));
    bool complete = check != NULL;
    if (complete) {
        check->command = json_is_integer(command) ? (size_t)json_integer_value(command) : ADAMOE_NO_COMMAND;
        check->not_tried = json_incref(json_object_get(json, "not_tried"));
        check->why_not = copy_text(why_not);
        complete = why_not == NULL || check->why_not != NULL;
    }
    for (size_t i = 0; complete && i < check->count; ++i) {
        check->cases[i] = copy_text(json_string_value(json_array_get(cases, i)));
        complete = check->cases[i] != NULL;
    }
    return complete ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

/* One failed result, the last of the list. */
static adamoe_status add_failed(adamoe_kernel_checks *checks, const char *name, const char *message)
{
    adamoe_kernel_check *check = add_check(checks, name, 1);
    if (check == NULL || (check->cases[0] = copy_text("load")) == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    check->not_loaded = true;
    check->done = 1;
    check->results[0].status = ADAMOE_CHECK_FAILED;
    (void)snprintf(check->results[0].detail, sizeof check->results[0].detail, "%.*s",
                   (int)sizeof check->results[0].detail - 1, message);
    return adamoe_ok();
}

/* "--command: COMMAND: REASON" says twice which one it is. */
static adamoe_status add_failed_command(adamoe_kernel_checks *checks, const adamoe_check_options *options,
                                        const json_t *json)
{
    const size_t command = (size_t)json_integer_value(json_object_get(json, "not_loaded"));
    const char *message = json_string_value(json_object_get(json, "message"));
    if (command >= options->common.commands || message == NULL) {
        return adamoe_ok();
    }
    char prefix[200];
    (void)snprintf(prefix, sizeof prefix, "--command: %.150s: ", options->common.command[command]);
    const size_t length = strlen(prefix);
    ADAMOE_TRY(add_failed(checks, options->common.command[command],
                          strncmp(message, prefix, length) == 0 ? message + length : message));
    checks->kernel[checks->count - 1].command = command;
    return adamoe_ok();
}

static adamoe_status add_failed_plugin(adamoe_kernel_checks *checks, const char *path, const char *message)
{
    ADAMOE_TRY(add_failed(checks, path, message));
    checks->plugin_failed = true;
    const adamoe_kernel_check last = checks->kernel[checks->count - 1];
    memmove(checks->kernel + 1, checks->kernel, (checks->count - 1) * sizeof last);
    checks->kernel[0] = last;
    return adamoe_ok();
}

typedef struct listing {
    const adamoe_check_options *options;
    adamoe_kernel_checks *checks;
    adamoe_check_process process;
} listing;

static void listed_line(void *context, const json_t *json)
{
    listing *l = context;
    adamoe_check_process *c = &l->process;
    const char *name = json_string_value(json_object_get(json, "kernel"));
    if (c->error.code == ADAMOE_OK && name != NULL) {
        c->error = add_listed(l->checks, name, json);
    } else if (c->error.code == ADAMOE_OK && json_is_integer(json_object_get(json, "not_loaded"))) {
        c->error = add_failed_command(l->checks, l->options, json);
    }
}

/* How a child that lists the kernels came to its end. */
typedef struct ending {
    bool whole; /* by itself */
    adamoe_check_blame blame;
    char how[160];
} ending;

/* Reads all lines. Errors: what the child reports, its ADAMOE_ENVIRONMENT excepted. */
static adamoe_status listen(const adamoe_check_options *options, listing *l, ending *out)
{
    adamoe_check_process *one = &l->process;
    bool more = true, late = false;
    adamoe_status status = adamoe_ok();
    while (more && !late && status.code == ADAMOE_OK) {
        struct pollfd waiting = {.fd = one->lines, .events = POLLIN};
        const int ready = poll(&waiting, 1, 200);
        more = ready <= 0 || adamoe_check_process_listen(one, listed_line, l);
        status = adamoe_check_process_look(one, options->timeout, &late);
    }
    if (status.code != ADAMOE_OK) {
        (void)kill(one->id, SIGKILL);
    }
    const int end = adamoe_check_process_wait(one);
    out->whole = !one->hung && one->error.code == ADAMOE_OK && WIFEXITED(end) && WEXITSTATUS(end) == 0;
    out->blame = adamoe_check_blame_for(one, end, options->timeout, out->how, sizeof out->how);
    return status.code != ADAMOE_OK || one->error.code == ADAMOE_ENVIRONMENT ? status : one->error;
}

static adamoe_status list_once(const adamoe_check_options *options, const char *work,
                               adamoe_kernel_checks *out, ending *end)
{
    listing l = {.options = options, .checks = out};
    *end = (ending){.blame = ADAMOE_CHECK_BLAME_SYSTEM};
    adamoe_check_list_free(out);
    adamoe_status status = adamoe_check_process_start(options, work, NULL, &l.process);
    if (status.code == ADAMOE_ENVIRONMENT) {
        (void)snprintf(end->how, sizeof end->how, "%.150s", status.message);
        return adamoe_ok();
    }
    if (status.code == ADAMOE_OK) {
        status = listen(options, &l, end);
    }
    free(l.process.text);
    return status;
}

/* Once more where the child did not come to its end, after a look at what may be short. */
static adamoe_status list_twice(const adamoe_check_options *options, adamoe_kernel_checks *out, ending *end)
{
    ADAMOE_TRY(list_once(options, "list", out, end));
    if (!end->whole) {
        ADAMOE_TRY(list_once(options, "again:list", out, end));
    }
    if (!end->whole && (end->blame == ADAMOE_CHECK_BLAME_SYSTEM || options->common.plugin == NULL)) {
        char limits[160];
        adamoe_check_describe_limits(limits, sizeof limits);
        return adamoe_error(ADAMOE_ENVIRONMENT,
                            "no verdict: the process that lists the kernels, the second time: %s%s", end->how,
                            limits);
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_list(const adamoe_check_options *options, adamoe_kernel_checks *out)
{
    ending end;
    *out = (adamoe_kernel_checks){0};
    adamoe_status status = list_twice(options, out, &end);
    if (status.code == ADAMOE_OK && !end.whole) {
        char message[240];
        adamoe_check_options without = *options;
        without.common.plugin = NULL;
        (void)snprintf(message, sizeof message, "the process that loaded it %s", end.how);
        status = list_twice(&without, out, &end);
        if (status.code == ADAMOE_OK) {
            status = add_failed_plugin(out, options->common.plugin, message);
        }
    }
    if (status.code != ADAMOE_OK) {
        adamoe_check_list_free(out);
    }
    return status;
}

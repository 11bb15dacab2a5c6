/*
 * The list of `adamoe check`: which kernels there are and which cases each has. A child process makes it,
 * because loading a plugin already runs foreign code. What ends that process is a failed result; a plugin
 * that the registry refuses is bad input: there is nothing to judge.
 */
#include "check/jobs.h"
#include "check/process.h"

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
    }
}

/* Reads all lines; true in *whole where the child came to its end by itself. */
static adamoe_status list_once(const adamoe_check_options *options, adamoe_kernel_checks *out, bool *whole,
                               char *how, size_t how_size)
{
    listing l = {.checks = out};
    adamoe_check_process *one = &l.process;
    ADAMOE_TRY(adamoe_check_process_start(options, "list", NULL, one));
    bool more = true;
    while (more) {
        struct pollfd waiting = {.fd = one->lines, .events = POLLIN};
        if (adamoe_check_process_is_late(one, options->timeout)) {
            (void)kill(one->id, SIGKILL);
            one->hung = true;
            break;
        }
        const int ready = poll(&waiting, 1, 200);
        more = ready <= 0 || adamoe_check_process_listen(one, listed_line, &l);
    }
    const int status = adamoe_check_process_wait(one);
    free(one->text);
    *whole = !one->hung && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    adamoe_check_describe_end(status, how, how_size);
    if (one->hung) {
        (void)snprintf(how, how_size, "hung: nothing after %u s", options->timeout);
    }
    return one->error;
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

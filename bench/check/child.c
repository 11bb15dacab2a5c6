/*
 * The child process of `adamoe check`.
 */
#include "check/child.h"
#include "check/call/memory.h"
#include "check/not_tried.h"
#include "check/shortage.h"
#include "check/surroundings.h"
#include "program/json_output.h"
#include "machine/team.h"
#include "remote/remote.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------------- the lines */

/* Hexadecimal: exact, and NaN and infinity too. */
static json_t *number_text(double value)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%a", value);
    return json_string(text);
}

static bool read_number(const json_t *line, const char *key, double *out)
{
    const char *text = json_string_value(json_object_get(line, key));
    *out = text == NULL ? 0.0 : strtod(text, NULL);
    return text != NULL;
}

json_t *adamoe_check_result_line(size_t i, const adamoe_check_result *result)
{
    const bool failed = result->status == ADAMOE_CHECK_FAILED;
    return json_pack("{s:I,s:i,s:i,s:o,s:b,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:o*}", "end", (json_int_t)i, "status",
                     (int)result->status, "tier", (int)result->tier, "detail",
                     adamoe_json_text(result->detail), "compared", (int)result->has_element, "row",
                     (json_int_t)result->row, "column", (json_int_t)result->column, "got",
                     number_text(result->got), "expected", number_text(result->expected), "bound",
                     number_text(result->bound), "largest", number_text(result->largest_ratio), "rms",
                     number_text(result->rms_ratio), "around",
                     failed ? adamoe_surroundings_line(&result->around) : NULL);
}

bool adamoe_check_read_result(const json_t *line, adamoe_check_result *out)
{
    const json_int_t status = json_integer_value(json_object_get(line, "status"));
    const json_int_t tier = json_integer_value(json_object_get(line, "tier"));
    const char *detail = json_string_value(json_object_get(line, "detail"));
    if (detail == NULL || status < 0 || status >= ADAMOE_CHECK_STATUSES || tier < 0 || tier >= ADAMOE_TIERS) {
        return false;
    }
    *out = (adamoe_check_result){.status = (adamoe_check_status)status,
                                 .tier = (adamoe_tier)tier,
                                 .has_element = json_is_true(json_object_get(line, "compared")),
                                 .row = (size_t)json_integer_value(json_object_get(line, "row")),
                                 .column = (size_t)json_integer_value(json_object_get(line, "column"))};
    (void)snprintf(out->detail, sizeof out->detail, "%s", detail);
    const json_t *around = json_object_get(line, "around");
    if (around != NULL && !adamoe_surroundings_read(around, &out->around)) {
        return false;
    }
    return read_number(line, "got", &out->got) && read_number(line, "expected", &out->expected) &&
           read_number(line, "bound", &out->bound) && read_number(line, "largest", &out->largest_ratio) &&
           read_number(line, "rms", &out->rms_ratio);
}

/* Takes over the reference. */
static adamoe_status tell(FILE *lines, json_t *line)
{
    const bool told = line != NULL && json_dumpf(line, lines, JSON_COMPACT) == 0 &&
                      fputc('\n', lines) != EOF && fflush(lines) == 0;
    json_decref(line);
    return told ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "child: cannot write to its parent");
}

/* ---------------------------------------------------------------------------------------------- the cases */

static bool wanted(const adamoe_check_options *options, const adamoe_case *c)
{
    return (options->tiers == 0 || (options->tiers >> c->tier & 1u) != 0) &&
           (options->part == NULL || strstr(adamoe_name_case(c).text, options->part) != NULL);
}

/* The cases of a kernel that were asked for: of the grid, or the one of a whole name. */
static adamoe_status choose_cases(const adamoe_check_options *options, const adamoe_kernel *kernel,
                                  adamoe_case **cases, size_t *count)
{
    size_t all = 0;
    *count = 0;
    ADAMOE_TRY(adamoe_check_grid(&kernel->tiles, options->exhaustive, cases, &all));
    for (size_t i = 0; i < all; ++i) {
        if (wanted(options, &(*cases)[i])) {
            (*cases)[(*count)++] = (*cases)[i];
        }
    }
    if (*count == 0 && options->part != NULL && adamoe_parse_case(options->part, *cases)) {
        *count = 1;
    }
    return adamoe_ok();
}

/* `command` is which --command brings it, or ADAMOE_NO_COMMAND. Of a kernel that nobody asked for no more than the name:
 * neither its cases, which take time to make, nor whether it can run, which it would have to find out. */
static adamoe_status tell_kernel(const adamoe_check_options *options, const adamoe_kernel *kernel,
                                 size_t command, FILE *lines)
{
    if (!adamoe_check_asks_for(options, kernel->name)) {
        return tell(lines, json_pack("{s:o}", "kernel", adamoe_json_text(kernel->name)));
    }
    const char *why_not = NULL;
    adamoe_case *cases = NULL;
    size_t count = 0;
    json_t *names = json_array();
    const bool runs = kernel->supported(&why_not);
    adamoe_status status = choose_cases(options, kernel, &cases, &count);
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        if (json_array_append_new(names, json_string(adamoe_name_case(&cases[i]).text)) != 0) {
            status = adamoe_error(ADAMOE_ENVIRONMENT, "child: out of memory");
        }
    }
    json_t *not_tried =
        status.code == ADAMOE_OK ? adamoe_check_not_tried(options, kernel, cases, count) : NULL;
    free(cases);
    if (status.code != ADAMOE_OK) {
        json_decref(names);
        return status;
    }
    json_t *reason = runs ? json_null() : adamoe_json_text(why_not == NULL ? "no reason given" : why_not);
    json_t *which = command == ADAMOE_NO_COMMAND ? json_null() : json_integer((json_int_t)command);
    return tell(lines, json_pack("{s:o,s:o,s:o,s:o,s:o}", "kernel", adamoe_json_text(kernel->name), "why_not",
                                 reason, "cases", names, "not_tried", not_tried, "command", which));
}

/* A process that says nothing is found out before its parent's clock runs out, and is one failed result. */
static unsigned patience(const adamoe_check_options *options)
{
    return options->timeout < 4 ? 1 : options->timeout / 4 * 3;
}

/* Those that were added to the registry from `first` on. */
static adamoe_status tell_kernels(const adamoe_check_options *options, const adamoe_registry *registry,
                                  size_t first, size_t command, FILE *lines)
{
    for (size_t i = first; i < adamoe_registry_count(registry); ++i) {
        ADAMOE_TRY(tell_kernel(options, adamoe_registry_at(registry, i), command, lines));
    }
    return adamoe_ok();
}

static adamoe_status list_command(const adamoe_check_options *options, adamoe_registry *registry,
                                  size_t command, FILE *lines)
{
    const size_t first = adamoe_registry_count(registry);
    const adamoe_status status =
        adamoe_registry_run(registry, options->common.command[command], patience(options));
    if (status.code == ADAMOE_ENVIRONMENT) {
        return status;
    }
    return status.code == ADAMOE_OK ? tell_kernels(options, registry, first, command, lines)
                                    : tell(lines, json_pack("{s:I,s:o}", "not_loaded", (json_int_t)command,
                                                            "message", adamoe_json_text(status.message)));
}

static adamoe_status list(const adamoe_check_options *options, adamoe_registry *registry, FILE *lines)
{
    if (options->common.plugin != NULL) {
        ADAMOE_TRY(adamoe_registry_load(registry, options->common.plugin));
    }
    ADAMOE_TRY(tell_kernels(options, registry, 0, ADAMOE_NO_COMMAND, lines));
    for (size_t i = 0; i < options->common.commands; ++i) {
        ADAMOE_TRY(list_command(options, registry, i, lines));
    }
    return adamoe_ok();
}

/* Cases from .. to - 1. */
typedef struct range {
    size_t from, to;
    bool again;
} range;

/* What the process of a kernel did when no call could tell it is the case's fault. */
static void see_aftermath(const adamoe_kernel *kernel, adamoe_check_result *result)
{
    const adamoe_status status = adamoe_remote_aftermath(kernel);
    if (status.code != ADAMOE_OK && result->status != ADAMOE_CHECK_FAILED) {
        *result = (adamoe_check_result){.status = ADAMOE_CHECK_FAILED,
                                        .tier = result->tier,
                                        .shortage = status.code == ADAMOE_ENVIRONMENT};
        (void)snprintf(result->detail, sizeof result->detail, "%.300s", status.message);
    }
}

static adamoe_status run_on(const adamoe_check_options *options, const adamoe_kernel *kernel,
                            const adamoe_case *cases, const range *some, const adamoe_team *team,
                            const adamoe_placement *placement, FILE *lines)
{
    for (size_t i = some->from; i < some->to; ++i) {
        adamoe_check_result result;
        ADAMOE_TRY(tell(lines, json_pack("{s:I}", "begin", (json_int_t)i)));
        ADAMOE_TRY(adamoe_check_run(kernel, &cases[i], options->common.seed, team, placement, &result));
        see_aftermath(kernel, &result);
        if (result.shortage && !some->again) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "%s", result.detail);
        }
        ADAMOE_TRY(tell(lines, adamoe_check_result_line(i, &result)));
    }
    return adamoe_ok();
}

/* Nothing is pinned unless placement was asked for: some cases bring teams of their own, whose threads would
 * be where this one is. */
static adamoe_status run_cases(const adamoe_check_options *options, const adamoe_kernel *kernel,
                               const adamoe_case *cases, const range *some, FILE *lines)
{
    const adamoe_common_options *common = &options->common;
    if (common->numa != ADAMOE_NUMA_LOCAL || common->topology != NULL) {
        const adamoe_machine_options wanted = adamoe_options_for_machine(common);
        adamoe_machine machine;
        ADAMOE_TRY(adamoe_machine_open(&wanted, &machine));
        const adamoe_status status =
            run_on(options, kernel, cases, some, machine.team, machine.placement, lines);
        adamoe_machine_close(&machine);
        return status;
    }
    adamoe_team *team = NULL;
    ADAMOE_TRY(
        adamoe_team_create(common->threads != 0 ? common->threads : adamoe_available_processors(), &team));
    const adamoe_status status = run_on(options, kernel, cases, some, team, NULL, lines);
    adamoe_team_free(team);
    return status;
}

/* They have announced their kernels before: what keeps them from it now is tried again alone, as all that is short. */
static adamoe_status run_commands(const adamoe_check_options *options, adamoe_registry *registry)
{
    for (size_t i = 0; i < options->common.commands; ++i) {
        const adamoe_status status =
            adamoe_registry_run(registry, options->common.command[i], patience(options));
        if (status.code != ADAMOE_OK) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "%s", status.message);
        }
    }
    return adamoe_ok();
}

static adamoe_status run_range(const adamoe_check_options *options, const char *work, bool again,
                               adamoe_registry *registry, FILE *lines)
{
    range some = {.again = again};
    size_t count = 0;
    adamoe_case *cases = NULL;
    if (options->common.plugin != NULL) {
        ADAMOE_TRY(adamoe_registry_load(registry, options->common.plugin));
    }
    ADAMOE_TRY(run_commands(options, registry));
    const adamoe_kernel *kernel =
        options->kernels == 1 ? adamoe_registry_find(registry, options->kernel[0]) : NULL;
    if (kernel == NULL || sscanf(work, "%zu:%zu", &some.from, &some.to) != 2) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--work: %s: not for people", options->work);
    }
    ADAMOE_TRY(choose_cases(options, kernel, &cases, &count));
    if (options->readable_guards) {
        adamoe_guarded_allow_reads();
    }
    const adamoe_status status =
        some.from <= some.to && some.to <= count
            ? run_cases(options, kernel, cases, &some, lines)
            : adamoe_error(ADAMOE_BAD_INPUT, "--work: %s: there are %zu cases", options->work, count);
    free(cases);
    return status;
}

/* A child ends with its parent, and leaves no core: that it crashed is a result. So its signals are the
 * system's again, whatever a library or a sanitizer has made of them. */
static void be_a_child(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; ++i) {
        (void)signal(crashes[i], SIG_DFL);
    }
    const struct rlimit none = {0, 0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &none);
}

/* A team of the kernel's own library beside the one that it is given, and those of the cases. */
static adamoe_status see_what_is_short(const adamoe_check_options *options)
{
    enum { OTHERS = 8 };
    const uint32_t processors = adamoe_available_processors();
    const uint32_t threads = options->common.threads != 0 ? options->common.threads : processors;
    return adamoe_check_shortage(options->jobs, threads + processors + OTHERS);
}

static adamoe_status do_work(const adamoe_check_options *options, adamoe_registry *registry, FILE *lines)
{
    static const char prefix[] = "again:";
    const bool again = strncmp(options->work, prefix, sizeof prefix - 1) == 0;
    const char *work = options->work + (again ? sizeof prefix - 1 : 0);
    if (again) {
        ADAMOE_TRY(see_what_is_short(options));
    }
    return strcmp(work, "list") == 0 ? list(options, registry, lines)
                                     : run_range(options, work, again, registry, lines);
}

int adamoe_check_child(const adamoe_check_options *options)
{
    adamoe_registry *registry = NULL;
    FILE *lines = fdopen(ADAMOE_CHECK_LINES, "w");
    if (lines == NULL) {
        return adamoe_finish("check", adamoe_error(ADAMOE_BAD_INPUT, "--work: not for people"));
    }
    be_a_child();
    (void)tell(lines, json_pack("{s:b}", "started", 1));
    adamoe_status status = adamoe_registry_create(&registry);
    if (status.code == ADAMOE_OK) {
        status = do_work(options, registry, lines);
        adamoe_registry_free(registry);
    }
    if (status.code != ADAMOE_OK) {
        (void)tell(lines, json_pack("{s:o,s:i}", "error", adamoe_json_text(status.message), "code",
                                    (int)status.code));
    }
    (void)fclose(lines);
    return 0;
}

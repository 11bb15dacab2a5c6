/*
 * adamoe check: every kernel against the definition, in tiers, on a grid of shapes and routings.
 */
#include "bound/bound.h"
#include "check/child.h"
#include "check/print.h"
#include "program/environment.h"
#include "program/held_signals.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "machine/team.h"
#include "verbs.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPTION_CASE = 1,
    OPTION_LIST,
    OPTION_JSON,
    OPTION_JUNIT,
    OPTION_TAP,
    OPTION_KERNEL,
    OPTION_TIER,
    OPTION_JOBS,
    OPTION_TIMEOUT,
    OPTION_EXHAUSTIVE,
    OPTION_FAIL_FAST,
    OPTION_READABLE_GUARDS,
    OPTION_WORK,
};

static const struct argp_option options_list[] = {
    {"kernel", OPTION_KERNEL, "NAME", 0,
     "A kernel that `adamoe info' lists; may be given several times (default: all)", 0},
    {"tier", OPTION_TIER, "NAME", 0,
     "Only the cases of this tier: exact, bound, bitwise, property, routing or model; may be given several "
     "times",
     0},
    {"case", OPTION_CASE, "SUBSTRING", 0,
     "Only the cases whose names contain this; a whole name need not be one of those that --list prints", 0},
    {"exhaustive", OPTION_EXHAUSTIVE, 0, 0, "More and larger sizes: minutes instead of seconds", 0},
    {"jobs", OPTION_JOBS, "N", 0, "Child processes at once (default: all processors)", 0},
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "A case that takes longer hangs (default: 60)", 0},
    {"fail-fast", OPTION_FAIL_FAST, 0, 0, "Go on to the next kernel after the first case that fails", 0},
    {"readable-guards", OPTION_READABLE_GUARDS, 0, 0,
     "The pages around buffers hold NaNs and can be read: for emulators that read what a masked load leaves "
     "out",
     0},
    {"list", OPTION_LIST, 0, 0, "Print the names of the cases, run none", 0},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 0},
    {"junit", OPTION_JUNIT, "FILE", 0, "Write JUnit XML, `-' for standard output", 0},
    {"tap", OPTION_TAP, "FILE", 0, "Write the Test Anything Protocol, `-' for standard output", 0},
    {"work", OPTION_WORK, "WORK", OPTION_HIDDEN, "What a child process does", 0},
    {0},
};

static void add_kernel(adamoe_check_options *o, const char *name, const struct argp_state *state)
{
    if (o->kernels == ADAMOE_CHECK_KERNELS) {
        argp_error(state, "--kernel: more than %d", ADAMOE_CHECK_KERNELS);
    }
    o->kernel[o->kernels++] = name;
}

static void check_combination(const adamoe_check_options *o, const struct argp_state *state)
{
    if (o->list && (o->json != NULL || o->junit != NULL || o->tap != NULL)) {
        argp_error(state, "--list writes no --json, --junit or --tap");
    }
    if (o->json != NULL && o->common.seed > INT64_MAX) {
        argp_error(state, "--seed: with --json not above %lld, the largest integer that it can hold",
                   (long long)INT64_MAX);
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    adamoe_check_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_KERNEL:
        add_kernel(o, value, state);
        return 0;
    case OPTION_TIER:
        o->tiers |= 1u << adamoe_parse_choice(state, "--tier", value, adamoe_tier_names, ADAMOE_TIERS);
        return 0;
    case OPTION_CASE:
        o->part = value;
        return 0;
    case OPTION_EXHAUSTIVE:
        o->exhaustive = true;
        return 0;
    case OPTION_FAIL_FAST:
        o->fail_fast = true;
        return 0;
    case OPTION_READABLE_GUARDS:
        o->readable_guards = true;
        return 0;
    case OPTION_JOBS:
        o->jobs = (uint32_t)adamoe_parse_count(state, "--jobs", value, 1, 256);
        return 0;
    case OPTION_TIMEOUT:
        o->timeout = (uint32_t)adamoe_parse_count(state, "--timeout", value, 1, 86400);
        return 0;
    case OPTION_LIST:
        o->list = true;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case OPTION_JUNIT:
        o->junit = value;
        return 0;
    case OPTION_TAP:
        o->tap = value;
        return 0;
    case OPTION_WORK:
        o->work = value;
        return 0;
    case ARGP_KEY_END:
        check_combination(o, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&adamoe_machine_argp, 0, 0, 0}, {0}};

static const struct argp check_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc =
        "Runs every kernel that this machine can run, or those named, forward and, where it can, backward, "
        "on a grid of shapes and routings, in tiers: "
        "exact (integers, to the last bit), bound (random values, by the error bound of the kernel's own "
        "arithmetic), bitwise (what the kernel guarantees about its bits), property (changes of the input "
        "whose "
        "effect is known), routing (the same experts) and model (log-probabilities of small models). No "
        "tolerance is set by hand. A case passes, fails, "
        "is "
        "skipped, or is vacuous: it proves nothing. Kernels run in child processes: a crash or a hang is one "
        "failed case. A failure is exit code 1, and comes with the command line that repeats it."
        "\vExample:\n  adamoe check\n  adamoe check --kernel reference --tier exact --case routing:skewed\n",
    .children = children,
};

/* One run of the verb. */
typedef struct session {
    const adamoe_check_options *options;
    adamoe_kernel_checks checks;
    bool prints; /* standard output is for people */
    adamoe_load_mark before;
} session;

/* ------------------------------------------------------------------------------------------ what to check */

/* What could not be loaded is a result whatever was asked for. */
static bool is_asked_for(const adamoe_check_options *o, const adamoe_kernel_check *check)
{
    return check->not_loaded || adamoe_check_asks_for(o, check->name);
}

static const adamoe_kernel_check *find(const session *s, const char *name)
{
    for (size_t i = 0; i < s->checks.count; ++i) {
        if (!s->checks.kernel[i].not_loaded && strcmp(s->checks.kernel[i].name, name) == 0) {
            return &s->checks.kernel[i];
        }
    }
    return NULL;
}

/* Who names a kernel wants that one; it may have been one of a plugin or command that could not be loaded. */
static adamoe_status check_names(const session *s)
{
    bool all_loaded = true;
    for (size_t i = 0; i < s->checks.count; ++i) {
        all_loaded = all_loaded && !s->checks.kernel[i].not_loaded;
    }
    for (size_t i = 0; i < s->options->kernels; ++i) {
        const char *name = s->options->kernel[i];
        const adamoe_kernel_check *check = find(s, name);
        if (check == NULL && all_loaded) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--kernel: %s: no such kernel; `adamoe info' lists them",
                                name);
        }
        if (check != NULL && check->why_not != NULL && !s->options->list) {
            return adamoe_error(ADAMOE_NOT_SUPPORTED, "--kernel: %s: cannot run here: %s", name,
                                check->why_not);
        }
    }
    return adamoe_ok();
}

static adamoe_status check_plugin_file(const adamoe_check_options *o)
{
    if (o->common.plugin != NULL && access(o->common.plugin, R_OK) != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--plugin: %s: %s", o->common.plugin, strerror(errno));
    }
    return adamoe_ok();
}

/* Lists the kernels that were asked for. */
static adamoe_status list_kernels(session *s)
{
    size_t cases = 0;
    ADAMOE_TRY(check_plugin_file(s->options));
    ADAMOE_TRY(adamoe_check_list(s->options, &s->checks));
    ADAMOE_TRY(check_names(s));
    for (size_t i = 0; i < s->checks.count; ++i) {
        cases += is_asked_for(s->options, &s->checks.kernel[i]) ? s->checks.kernel[i].count : 0;
    }
    if (cases == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--case: %s: not a part of a case's name, nor a name; --list prints them",
                            s->options->part == NULL ? "" : s->options->part);
    }
    for (size_t i = s->checks.count; i-- > 0;) {
        if (!is_asked_for(s->options, &s->checks.kernel[i])) {
            adamoe_check_list_drop(&s->checks, i);
        }
    }
    return adamoe_ok();
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void keep_name(void *name)
{
    (void)name; /* the names belong to the list */
}

/* Kernels have many cases in common. */
static adamoe_status list_cases(session *s)
{
    void *seen = NULL;
    ADAMOE_TRY(list_kernels(s));
    for (size_t i = 0; i < s->checks.count; ++i) {
        const adamoe_kernel_check *check = &s->checks.kernel[i];
        for (size_t j = 0; j < check->count; ++j) {
            if (tfind(check->cases[j], &seen, compare_names) == NULL) {
                (void)tsearch(check->cases[j], &seen, compare_names);
                printf("%s\n", check->cases[j]);
            }
        }
    }
    tdestroy(seen, keep_name);
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- what came */

static void case_ended(void *context, const adamoe_kernel_check *check, size_t i)
{
    const session *s = context;
    if (s->prints && check->results[i].status == ADAMOE_CHECK_FAILED) {
        adamoe_print_failure(s->options, check, i);
        (void)fflush(stdout);
    }
}

static int widest_name(const session *s)
{
    size_t widest = 12;
    for (size_t i = 0; i < s->checks.count; ++i) {
        const char *name = s->checks.kernel[i].name;
        widest = !s->checks.kernel[i].not_loaded && strlen(name) > widest ? strlen(name) : widest;
    }
    return (int)widest;
}

static adamoe_status report(session *s, json_t *kernels, size_t *failed, size_t *failed_kernels)
{
    const int widest = widest_name(s);
    for (size_t i = 0; i < s->checks.count; ++i) {
        const adamoe_kernel_check *check = &s->checks.kernel[i];
        adamoe_check_summary summary;
        ADAMOE_TRY(adamoe_summarise_check(check, &summary));
        *failed += summary.count[ADAMOE_CHECK_FAILED];
        *failed_kernels += summary.count[ADAMOE_CHECK_FAILED] > 0;
        if (s->prints && check->not_loaded) {
            adamoe_print_failure(s->options, check, 0);
        } else if (s->prints) {
            adamoe_print_check(check, &summary, widest);
        }
        if (json_array_append_new(kernels, adamoe_check_json(s->options, check, &summary)) != 0) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
        }
    }
    return adamoe_ok();
}

/* A kernel that refuses everything fails nowhere, and is not right for that. */
static adamoe_status check_something_ran(const session *s)
{
    for (size_t i = 0; i < s->checks.count; ++i) {
        const adamoe_kernel_check *check = &s->checks.kernel[i];
        const char *reason = "";
        if (adamoe_check_ran_nothing(s->options, check, &reason)) {
            return adamoe_error(ADAMOE_NOT_SUPPORTED,
                                "%s: no verdict: each case that calls its experts was skipped: %.300s",
                                check->name, reason);
        }
    }
    return adamoe_ok();
}

/* Takes over the reference to `kernels`. */
static adamoe_status write_json(const session *s, json_t *kernels)
{
    const adamoe_common_options *common = &s->options->common;
    const uint32_t threads = common->threads != 0 ? common->threads : adamoe_available_processors();
    if (s->options->json == NULL) {
        json_decref(kernels);
        return adamoe_ok();
    }
    return adamoe_json_write(s->options->json,
                             json_pack("{s:s,s:I,s:I,s:f,s:o,s:o}", "version", ADAMOE_VERSION, "seed",
                                       (json_int_t)common->seed, "threads", (json_int_t)threads,
                                       "false_alarm_probability", ADAMOE_FALSE_ALARM, "environment",
                                       adamoe_environment_json(&s->before), "kernels", kernels));
}

static adamoe_status finish(session *s)
{
    size_t failed = 0, failed_kernels = 0;
    json_t *kernels = json_array();
    adamoe_status status = report(s, kernels, &failed, &failed_kernels);
    if (status.code != ADAMOE_OK) {
        json_decref(kernels);
        return status;
    }
    ADAMOE_TRY(write_json(s, kernels));
    ADAMOE_TRY(adamoe_check_write_junit(s->options, &s->checks));
    ADAMOE_TRY(adamoe_check_write_tap(s->options, &s->checks));
    return failed == 0 ? check_something_ran(s)
                       : adamoe_error(ADAMOE_DIFFERENCE, "%zu case%s of %zu kernel%s failed", failed,
                                      failed == 1 ? "" : "s", failed_kernels, failed_kernels == 1 ? "" : "s");
}

static adamoe_status run_session(session *s)
{
    const adamoe_check_options *o = s->options;
    const adamoe_result_file files[] = {{"--json", o->json}, {"--junit", o->junit}, {"--tap", o->tap}};
    ADAMOE_TRY(adamoe_check_result_files(files, 3, NULL, 0, &o->common));
    s->prints = adamoe_json_leaves_stdout(o->json) && adamoe_json_leaves_stdout(o->junit) &&
                adamoe_json_leaves_stdout(o->tap);
    ADAMOE_TRY(list_kernels(s));
    ADAMOE_TRY(adamoe_check_run_all(o, &s->checks, case_ended, s));
    adamoe_hold_signals();
    const adamoe_status status = finish(s);
    adamoe_release_signals();
    return status;
}

int adamoe_verb_check(int count, char **arguments)
{
    adamoe_check_options options = {.common = {.seed = 1}, .timeout = 60};
    adamoe_parse(&check_argp, count, arguments, &options);
    if (options.work != NULL) {
        return adamoe_check_child(&options);
    }
    options.jobs = options.jobs != 0 ? options.jobs : adamoe_available_processors();
    session s = {.options = &options};
    adamoe_mark_load(&s.before);
    const adamoe_status status = options.list ? list_cases(&s) : run_session(&s);
    adamoe_check_list_free(&s.checks);
    return adamoe_finish("check", status);
}

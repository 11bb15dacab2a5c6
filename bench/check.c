/*
 * adamoe check: every kernel against the definition, on a grid of shapes and routings.
 */
#include "bound.h"
#include "check_report.h"
#include "environment.h"
#include "held_signals.h"
#include "json_output.h"
#include "result_files.h"
#include "team.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

enum {
    OPTION_CASE = 1,
    OPTION_LIST,
    OPTION_JSON,
    OPTION_FAIL_FAST,
};

typedef struct check_options {
    adamoe_common_options common;
    const char *part; /* of the names of cases; NULL: all */
    const char *json;
    bool list, fail_fast;
} check_options;

static const struct argp_option options_list[] = {
    {"case", OPTION_CASE, "SUBSTRING", 0,
     "Only the cases whose names contain this; a whole name need not be one of those that --list prints", 0},
    {"list", OPTION_LIST, 0, 0, "Print the names of the cases, run none", 0},
    {"fail-fast", OPTION_FAIL_FAST, 0, 0, "Go on to the next kernel after the first case that fails", 0},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    check_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_CASE:
        o->part = value;
        return 0;
    case OPTION_LIST:
        o->list = true;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case OPTION_FAIL_FAST:
        o->fail_fast = true;
        return 0;
    case ARGP_KEY_END:
        if (o->list && o->json != NULL) {
            argp_error(state, "--list writes no --json");
        }
        if (o->json != NULL && o->common.seed > INT64_MAX) {
            argp_error(state, "--seed: with --json not above %lld, the largest integer that it can hold",
                       (long long)INT64_MAX);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&adamoe_common_argp, 0, 0, 0}, {0}};

static const struct argp check_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Runs every kernel that this machine can run, or the one named, on a grid of shapes and routings, "
           "and judges each element of the output by the error bound of the kernel's own arithmetic. No "
           "tolerance is set by hand. A case passes, fails, is skipped, or is vacuous: it proves nothing. A "
           "failure is exit code 1, and comes with the command line that repeats it."
           "\vExample:\n  adamoe check\n  adamoe check --kernel reference --case routing:skewed\n",
    .children = children,
};

/* One run of the verb. */
typedef struct session {
    const check_options *options;
    adamoe_case *cases;
    size_t count;
    adamoe_check_result *results; /* [count] of the kernel at work */
    adamoe_team *team;
    json_t *kernels;
    size_t failed, failed_kernels;
    adamoe_load_mark before;
} session;

/* Keeps the cases that --case asks for. */
static adamoe_status choose_cases(session *s)
{
    const char *part = s->options->part;
    size_t kept = 0;
    for (size_t i = 0; i < s->count; ++i) {
        if (part == NULL || strstr(adamoe_name_case(&s->cases[i]).text, part) != NULL) {
            s->cases[kept++] = s->cases[i];
        }
    }
    if (kept == 0 && adamoe_parse_case(part, &s->cases[0])) {
        kept = 1;
    }
    s->count = kept;
    return kept > 0 ? adamoe_ok()
                    : adamoe_error(ADAMOE_BAD_INPUT,
                                   "--case: %s: not a part of a case's name, nor a name; --list prints them",
                                   part);
}

static adamoe_status run_cases(session *s, adamoe_kernel_check *check)
{
    for (size_t i = 0; i < s->count; ++i) {
        check->count = i + 1;
        ADAMOE_TRY(
            adamoe_check_run(check->kernel, &s->cases[i], s->options->common.seed, s->team, &s->results[i]));
        if (s->results[i].status == ADAMOE_CHECK_FAILED && adamoe_json_leaves_stdout(s->options->json)) {
            adamoe_print_failure(check, i);
        }
        if (s->results[i].status == ADAMOE_CHECK_FAILED && s->options->fail_fast) {
            break;
        }
    }
    return adamoe_ok();
}

static adamoe_status check_kernel(session *s, const adamoe_kernel *kernel)
{
    adamoe_kernel_check check = {.kernel = kernel,
                                 .cases = s->cases,
                                 .results = s->results,
                                 .options = &s->options->common,
                                 .threads = s->team->threads};
    adamoe_check_summary summary;
    const char *why_not = NULL;
    if (kernel->supported(&why_not)) {
        ADAMOE_TRY(run_cases(s, &check));
    } else {
        check.why_not = why_not == NULL ? "no reason given" : why_not;
    }
    ADAMOE_TRY(adamoe_summarise_check(&check, &summary));
    s->failed += summary.count[ADAMOE_CHECK_FAILED];
    s->failed_kernels += summary.count[ADAMOE_CHECK_FAILED] > 0;
    if (adamoe_json_leaves_stdout(s->options->json)) {
        adamoe_print_check(&check, &summary);
        (void)fflush(stdout);
    }
    if (json_array_append_new(s->kernels, adamoe_check_json(&check, &summary)) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    return adamoe_ok();
}

static adamoe_status check_kernels(session *s, const adamoe_registry *registry, const adamoe_kernel *chosen)
{
    if (s->options->common.kernel != NULL) {
        return check_kernel(s, chosen);
    }
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        ADAMOE_TRY(check_kernel(s, adamoe_registry_at(registry, i)));
    }
    return adamoe_ok();
}

static adamoe_status finish(session *s)
{
    if (s->options->json != NULL) {
        ADAMOE_TRY(adamoe_json_write(s->options->json,
                                     json_pack("{s:s,s:I,s:I,s:f,s:o,s:O}", "version", ADAMOE_VERSION, "seed",
                                               (json_int_t)s->options->common.seed, "threads",
                                               (json_int_t)s->team->threads, "false_alarm_probability",
                                               ADAMOE_FALSE_ALARM, "environment",
                                               adamoe_environment_json(&s->before), "kernels", s->kernels)));
    }
    if (s->failed > 0) {
        return adamoe_error(ADAMOE_DIFFERENCE, "%zu case%s of %zu kernel%s failed", s->failed,
                            s->failed == 1 ? "" : "s", s->failed_kernels, s->failed_kernels == 1 ? "" : "s");
    }
    return adamoe_ok();
}

static adamoe_status run_session(session *s)
{
    const adamoe_common_options *common = &s->options->common;
    adamoe_registry *registry = NULL;
    const adamoe_kernel *chosen = NULL;
    const adamoe_result_file file = {"--json", s->options->json};
    ADAMOE_TRY(adamoe_check_result_files(&file, 1));
    ADAMOE_TRY(adamoe_check_grid(&s->cases, &s->count));
    ADAMOE_TRY(choose_cases(s));
    s->results = calloc(s->count, sizeof *s->results);
    s->kernels = json_array();
    if (s->results == NULL || s->kernels == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    ADAMOE_TRY(
        adamoe_team_create(common->threads != 0 ? common->threads : adamoe_available_processors(), &s->team));
    ADAMOE_TRY(adamoe_choose_kernel(common, &registry, &chosen));
    adamoe_status status = check_kernels(s, registry, chosen);
    if (status.code == ADAMOE_OK) {
        adamoe_hold_signals();
        status = finish(s);
        adamoe_release_signals();
    }
    adamoe_registry_free(registry);
    return status;
}

static adamoe_status list_cases(session *s)
{
    ADAMOE_TRY(adamoe_check_grid(&s->cases, &s->count));
    ADAMOE_TRY(choose_cases(s));
    for (size_t i = 0; i < s->count; ++i) {
        printf("%s\n", adamoe_name_case(&s->cases[i]).text);
    }
    return adamoe_ok();
}

int adamoe_verb_check(int count, char **arguments)
{
    check_options options = {.common = {.seed = 1}};
    adamoe_parse(&check_argp, count, arguments, &options);
    session s = {.options = &options};
    adamoe_mark_load(&s.before);
    const adamoe_status status = options.list ? list_cases(&s) : run_session(&s);
    json_decref(s.kernels);
    adamoe_team_free(s.team);
    free(s.results);
    free(s.cases);
    return adamoe_finish("check", status);
}

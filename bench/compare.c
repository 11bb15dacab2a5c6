/*
 * adamoe compare: what became worse between two results.
 */
#include "compare/comparison.h"
#include "program/held_signals.h"
#include "files/json_file.h"
#include "program/json_output.h"
#include "files/mapped_file.h"
#include "program/options.h"
#include "program/result_files.h"
#include "verbs.h"

#include <string.h>

enum {
    OPTION_MARKDOWN = 1,
    OPTION_JSON,
    OPTION_BASE_SAMPLES,
    OPTION_NEW_SAMPLES,
    OPTION_ALPHA,
    OPTION_MINIMUM_EFFECT,
    OPTION_REQUIRE_ALL,
};

typedef struct compare_options {
    const char *base, *now, *markdown, *json, *base_samples, *new_samples;
    adamoe_comparison_options rules;
} compare_options;

static const struct argp_option options_list[] = {
    {"base-samples", OPTION_BASE_SAMPLES, "FILE", 0,
     "Of results of eval: what --samples wrote of the base, so that answers are paired by question", 0},
    {"new-samples", OPTION_NEW_SAMPLES, "FILE", 0, "The same of the new result", 0},
    {"alpha", OPTION_ALPHA, "P", 0, "Probability of a false alarm in the whole comparison (default: 0.05)",
     0},
    {"minimum-effect", OPTION_MINIMUM_EFFECT, "F", 0, "Smallest slowdown that counts (default: 0.03)", 0},
    {"require-all", OPTION_REQUIRE_ALL, 0, 0, "What the new result lacks counts as a regression", 0},
    {"markdown", OPTION_MARKDOWN, "FILE", 0, "Write Markdown for a pull request, `-' for standard output", 0},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 0},
    {0},
};

/* A fraction between 0 and 1, both excluded. */
static double parse_fraction(struct argp_state *state, const char *option, const char *text)
{
    const double value = adamoe_parse_number(state, option, text);
    if (!(value > 0.0 && value < 1.0)) {
        argp_error(state, "%s: `%s' is not between 0 and 1", option, text);
    }
    return value;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    compare_options *o = state->input;
    switch (key) {
    case OPTION_MARKDOWN:
        o->markdown = value;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case OPTION_BASE_SAMPLES:
        o->base_samples = value;
        return 0;
    case OPTION_NEW_SAMPLES:
        o->new_samples = value;
        return 0;
    case OPTION_ALPHA:
        o->rules.alpha = parse_fraction(state, "--alpha", value);
        return 0;
    case OPTION_MINIMUM_EFFECT:
        o->rules.minimum_effect = parse_fraction(state, "--minimum-effect", value);
        return 0;
    case OPTION_REQUIRE_ALL:
        o->rules.missing_fails = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1) {
            argp_error(state, "`%s': two results are compared", value);
        }
        *(state->arg_num == 0 ? &o->base : &o->now) = value;
        return 0;
    case ARGP_KEY_END:
        if (o->now == NULL) {
            argp_error(state, "two results are compared: BASE.json NEW.json");
        }
        if ((o->base_samples == NULL) != (o->new_samples == NULL)) {
            argp_error(state, "--base-samples and --new-samples belong together");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp compare_argp = {
    .options = options_list,
    .parser = parse_option,
    .args_doc = "BASE.json NEW.json",
    .doc = "Compares two results of check, bench, eval or gate. What is deterministic (which checks pass, "
           "FLOPs, "
           "bytes, rows, load) must be the same; accuracies are compared by a test, paired by question where "
           "the "
           "samples are given; times relative to the roofline of their own run, by Mann and Whitney's test, "
           "with Holm's correction over all tests and a minimum effect. Exit code 0: no regression, 1: a "
           "regression, "
           "2: files that cannot be compared."
           "\vExample:\n  adamoe check --case tokens:7/routing:skewed --json base.json\n"
           "  adamoe check --case tokens:7/routing:skewed --json new.json\n"
           "  adamoe compare base.json new.json --markdown comment.md\n",
};

/* One JSON document for each line. */
static adamoe_status read_samples(const char *path, json_t **out)
{
    adamoe_mapped_file file;
    if (path == NULL) {
        return adamoe_ok();
    }
    *out = json_array();
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    const char *line = (const char *)file.data, *end = line + file.size;
    adamoe_status status = adamoe_ok();
    for (size_t number = 1; line < end && status.code == ADAMOE_OK; ++number) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        char place[512];
        json_t *sample = NULL;
        stop = stop == NULL ? end : stop;
        (void)snprintf(place, sizeof place, "%.400s: sample %zu", path, number);
        status = adamoe_json_parse(place, line, (size_t)(stop - line), &sample);
        if (status.code == ADAMOE_OK && json_array_append_new(*out, sample) != 0) {
            status = adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", place);
        }
        line = stop + 1;
    }
    adamoe_mapped_file_close(&file);
    return status;
}

typedef struct session {
    const compare_options *options;
    json_t *base, *now, *base_samples, *new_samples;
    adamoe_result_comparison comparison;
} session;

static adamoe_status report(session *s)
{
    const compare_options *o = s->options;
    const adamoe_result_comparison *comparison = &s->comparison;
    if (adamoe_json_leaves_stdout(o->json) && adamoe_json_leaves_stdout(o->markdown)) {
        adamoe_print_comparison(comparison);
    }
    if (o->markdown != NULL) {
        ADAMOE_TRY(adamoe_write_markdown(comparison, "adamoe compare", o->markdown));
    }
    return o->json == NULL ? adamoe_ok() : adamoe_json_write(o->json, adamoe_comparison_json(comparison));
}

static adamoe_status run(session *s)
{
    const compare_options *o = s->options;
    const adamoe_result_file files[] = {{"--markdown", o->markdown}, {"--json", o->json}};
    const char *const inputs[] = {o->base, o->now, o->base_samples, o->new_samples};
    ADAMOE_TRY(adamoe_check_result_files(files, 2, inputs, sizeof inputs / sizeof *inputs, NULL));
    ADAMOE_TRY(adamoe_json_read(o->base, &s->base));
    ADAMOE_TRY(adamoe_json_read(o->now, &s->now));
    ADAMOE_TRY(read_samples(o->base_samples, &s->base_samples));
    ADAMOE_TRY(read_samples(o->new_samples, &s->new_samples));
    ADAMOE_TRY(adamoe_compare_results(&s->comparison, o->base, s->base, o->now, s->now,
                                      (adamoe_sample_logs){.base = s->base_samples,
                                                           .now = s->new_samples,
                                                           .base_path = o->base_samples,
                                                           .now_path = o->new_samples}));
    ADAMOE_TRY(adamoe_judge_comparison(&s->comparison));
    adamoe_hold_signals();
    const adamoe_status status = report(s);
    adamoe_release_signals();
    ADAMOE_TRY(status);
    return adamoe_comparison_outcome(&s->comparison);
}

int adamoe_verb_compare(int count, char **arguments)
{
    compare_options options = {.rules = adamoe_comparison_defaults};
    adamoe_parse(&compare_argp, count, arguments, &options);
    session s = {.options = &options, .comparison = {.options = options.rules}};
    const adamoe_status status = run(&s);
    json_decref(s.base);
    json_decref(s.now);
    json_decref(s.base_samples);
    json_decref(s.new_samples);
    adamoe_free_comparison(&s.comparison);
    return adamoe_finish("compare", status);
}

/*
 * adamoe gate: did a change make anything worse? Against another build on this machine, or against a baseline
 * that any machine can hold. For CI.
 */
#include "comparison.h"
#include "environment.h"
#include "gate_collect.h"
#include "gate_speed.h"
#include "held_signals.h"
#include "json_file.h"
#include "json_output.h"
#include "options.h"
#include "result_files.h"
#include "shipped.h"
#include "timed_layer.h"
#include "verbs.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    OPTION_AGAINST = 1,
    OPTION_PLUGIN_AGAINST,
    OPTION_BASELINE,
    OPTION_WRITE_BASELINE,
    OPTION_KERNEL,
    OPTION_PRESET,
    OPTION_TOKENS,
    OPTION_ROUNDS,
    OPTION_PAIRS,
    OPTION_MILLISECONDS,
    OPTION_CHECK_CASE,
    OPTION_ONLY_SPEED,
    OPTION_MODEL,
    OPTION_QUESTIONS,
    OPTION_LIMIT,
    OPTION_ALPHA,
    OPTION_MINIMUM_EFFECT,
    OPTION_MARKDOWN,
    OPTION_JSON,
};

/* Found by simulation, tests/gate_noise_test.c: with so many a slowdown of 5 % is found in 9 runs of 10 where
 * processes differ by 2 %. */
#define ROUNDS 20

#define MOST_KERNELS 16
#define MOST_TOKENS  4

typedef struct gate_options {
    adamoe_common_options common;
    const char *against, *plugin_against, *baseline, *write_baseline;
    const char *kernel[MOST_KERNELS];
    size_t kernels;
    const char *preset;
    size_t tokens[MOST_TOKENS], token_counts;
    size_t rounds, pairs, milliseconds; /* rounds 0: as many as it takes */
    const char *check_case, *model, *questions;
    size_t limit;
    bool only_speed;
    adamoe_comparison_options rules;
    const char *markdown, *json;
} gate_options;

static const struct argp_option options_list[] = {
    {"against", OPTION_AGAINST, "BUILD_DIR", 0,
     "Compare with the program BUILD_DIR/bin/adamoe: checks, work, accuracy, and speed, timed in turn", 0},
    {"plugin-against", OPTION_PLUGIN_AGAINST, "FILE.so", 0, "What it loads instead of --plugin", 0},
    {"baseline", OPTION_BASELINE, "FILE", 0, "Compare checks, work and accuracy with a file; no times", 0},
    {"write-baseline", OPTION_WRITE_BASELINE, "FILE", 0, "Make such a file", 0},
    {0, 0, 0, 0, "What is looked at:", 1},
    {"kernel", OPTION_KERNEL, "NAME", 0,
     "A kernel that `adamoe info' lists; may be given several times (default: all; the reference is not "
     "timed)",
     1},
    {"preset", OPTION_PRESET, "NAME", 0, "Sizes that are timed: gate (default), or one of `adamoe bench'", 1},
    {"tokens", OPTION_TOKENS, "T,...", 0, "Numbers of tokens that are timed (default: 1,16)", 1},
    {"check-case", OPTION_CHECK_CASE, "SUBSTRING", 0, "Cases of `adamoe check' (default: tokens:7/)", 1},
    {"model", OPTION_MODEL, "DIR", 0,
     "Model that is evaluated by the reference (default: the one that ships)", 1},
    {"questions", OPTION_QUESTIONS, "FILE", 0, "Its questions (default: those that ship)", 1},
    {"limit", OPTION_LIMIT, "N", 0, "Only the first N questions (default: 20)", 1},
    {"only-speed", OPTION_ONLY_SPEED, 0, 0, "Neither checks nor evaluation", 1},
    {0, 0, 0, 0, "How it is judged:", 2},
    {"alpha", OPTION_ALPHA, "P", 0, "Probability of a false alarm in the whole gate (default: 0.05)", 2},
    {"minimum-effect", OPTION_MINIMUM_EFFECT, "F", 0, "Smallest slowdown that counts (default: 0.03)", 2},
    {"rounds", OPTION_ROUNDS, "N", 0,
     "Pairs of processes, each of which counts once (default: 20, or as many as can be significant)", 2},
    {"pairs", OPTION_PAIRS, "N", 0, "Pairs of measurements in a round (default: 11)", 2},
    {"milliseconds", OPTION_MILLISECONDS, "MS", 0, "Of one measurement (default: 4)", 2},
    {0, 0, 0, 0, "Results:", 3},
    {"markdown", OPTION_MARKDOWN, "FILE", 0, "Write Markdown for a pull request, `-' for standard output", 3},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 3},
    {0},
};

static void parse_tokens(struct argp_state *state, const char *value, gate_options *o)
{
    const char *text = value;
    for (o->token_counts = 0; o->token_counts < MOST_TOKENS; ++text) {
        char one[24];
        const size_t length = strcspn(text, ",");
        (void)snprintf(one, sizeof one, "%.*s", (int)length, text);
        o->tokens[o->token_counts++] = (size_t)adamoe_parse_count(state, "--tokens", one, 1, 1u << 20);
        text += length;
        if (*text == '\0') {
            return;
        }
    }
    argp_error(state, "--tokens: more than %d numbers", MOST_TOKENS);
}

static error_t parse_timing(int key, char *value, struct argp_state *state)
{
    gate_options *o = state->input;
    switch (key) {
    case OPTION_PRESET:
        o->preset = value;
        return 0;
    case OPTION_TOKENS:
        parse_tokens(state, value, o);
        return 0;
    case OPTION_ALPHA:
        o->rules.alpha = adamoe_parse_number(state, "--alpha", value);
        return 0;
    case OPTION_MINIMUM_EFFECT:
        o->rules.minimum_effect = adamoe_parse_number(state, "--minimum-effect", value);
        return 0;
    case OPTION_ROUNDS:
        o->rounds = (size_t)adamoe_parse_count(state, "--rounds", value, 1, 200);
        return 0;
    case OPTION_PAIRS:
        o->pairs = (size_t)adamoe_parse_count(state, "--pairs", value, 1, 10000);
        return 0;
    case OPTION_MILLISECONDS:
        o->milliseconds = (size_t)adamoe_parse_count(state, "--milliseconds", value, 1, 10000);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_subject(int key, char *value, struct argp_state *state)
{
    gate_options *o = state->input;
    switch (key) {
    case OPTION_KERNEL:
        if (o->kernels == MOST_KERNELS) {
            argp_error(state, "--kernel: more than %d", MOST_KERNELS);
        }
        o->kernel[o->kernels++] = value;
        return 0;
    case OPTION_CHECK_CASE:
        o->check_case = value;
        return 0;
    case OPTION_MODEL:
        o->model = value;
        return 0;
    case OPTION_QUESTIONS:
        o->questions = value;
        return 0;
    case OPTION_LIMIT:
        o->limit = (size_t)adamoe_parse_count(state, "--limit", value, 1, SIZE_MAX);
        return 0;
    case OPTION_ONLY_SPEED:
        o->only_speed = true;
        return 0;
    default:
        return parse_timing(key, value, state);
    }
}

static void check_usage(struct argp_state *state, const gate_options *o)
{
    if (o->against == NULL && o->baseline == NULL && o->write_baseline == NULL) {
        argp_error(state, "one of --against, --baseline and --write-baseline is needed");
    }
    if (o->only_speed && (o->against == NULL || o->baseline != NULL || o->write_baseline != NULL)) {
        argp_error(state, "--only-speed: speed is compared by --against, and no baseline has it");
    }
    if (o->plugin_against != NULL && o->against == NULL) {
        argp_error(state, "--plugin-against needs --against");
    }
    if (!(o->rules.alpha > 0.0 && o->rules.alpha < 1.0)) {
        argp_error(state, "--alpha: not between 0 and 1");
    }
    if (!(o->rules.minimum_effect >= 0.0)) {
        argp_error(state, "--minimum-effect: below 0");
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    gate_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_AGAINST:
        o->against = value;
        return 0;
    case OPTION_PLUGIN_AGAINST:
        o->plugin_against = value;
        return 0;
    case OPTION_BASELINE:
        o->baseline = value;
        return 0;
    case OPTION_WRITE_BASELINE:
        o->write_baseline = value;
        return 0;
    case OPTION_MARKDOWN:
        o->markdown = value;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_END:
        check_usage(state, o);
        return 0;
    default:
        return parse_subject(key, value, state);
    }
}

static const struct argp_child children[] = {{&adamoe_machine_argp, 0, 0, 0}, {0}};

static const struct argp gate_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc =
        "Tells whether this program is worse than another build, or than a baseline: checks that fail, work "
        "(FLOPs, bytes, rows) that changed, accuracy that was lost, kernels that became slower. Both builds "
        "are timed "
        "in turn, on one thread unless --threads says otherwise, in processes that are started anew for each "
        "round; "
        "Wilcoxon's signed-rank test over rounds, Holm's correction over kernels and sizes. Exit code 0: no "
        "regression, 1: a regression, 2: bad input."
        "\vExample:\n"
        "  adamoe gate --against ../main/build/release --markdown comment.md\n"
        "  adamoe gate --baseline ci/baselines/gate.json\n",
    .children = children,
};

/* ----------------------------------------------------------------------------------------------- the verb */

typedef struct session {
    const gate_options *options;
    adamoe_load_mark before;
    char program[PATH_MAX], other[PATH_MAX];
    const char *model, *questions;
    adamoe_shipped_file shipped_model, shipped_questions;
    adamoe_speed_options speed;
    adamoe_speed_case *cases; /* [count] */
    size_t count;
    json_t *now; /* the result so far */
    adamoe_result_comparison comparison;
    bool prints;
} session;

/* The model and questions that were asked for, or those that ship. */
static adamoe_status find_model(session *s)
{
    const gate_options *o = s->options;
    s->model = o->model;
    s->questions = o->questions;
    if (o->model == NULL && !o->only_speed) {
        ADAMOE_TRY(adamoe_find_shipped("datasets/tiny-adamoe", &s->shipped_model));
        s->model = s->shipped_model.path;
    }
    if (o->questions == NULL && !o->only_speed) {
        ADAMOE_TRY(adamoe_find_shipped("datasets/wordnet/test.jsonl", &s->shipped_questions));
        s->questions = s->shipped_questions.path;
    }
    return adamoe_ok();
}

/* BUILD_DIR/bin/adamoe, or the program itself where the path is one. */
static adamoe_status find_programs(session *s)
{
    const char *against = s->options->against;
    const ssize_t length = readlink("/proc/self/exe", s->program, sizeof s->program - 1);
    if (length <= 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "/proc/self/exe: %s", strerror(errno));
    }
    s->program[length] = '\0';
    if (against == NULL) {
        return adamoe_ok();
    }
    struct stat facts;
    if (stat(against, &facts) != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--against: %s: %s", against, strerror(errno));
    }
    (void)snprintf(s->other, sizeof s->other, "%s%s", against, S_ISDIR(facts.st_mode) ? "/bin/adamoe" : "");
    return access(s->other, X_OK) == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--against: %.400s: %s", s->other, strerror(errno));
}

static void add_case(session *s, const char *kernel, size_t tokens)
{
    adamoe_speed_case *c = &s->cases[s->count++];
    c->kernel = kernel;
    c->tokens = tokens;
    (void)snprintf(c->name, sizeof c->name, "%s/%s/tokens:%zu/threads:%u", s->options->preset, kernel, tokens,
                   s->speed.threads);
}

/* The kernels that were asked for, or all but the definition. Their names live as long as the registry. */
static adamoe_status choose_cases(session *s, const adamoe_registry *registry)
{
    const gate_options *o = s->options;
    const size_t all = adamoe_registry_count(registry);
    s->cases = calloc((o->kernels + all) * o->token_counts, sizeof *s->cases);
    if (s->cases == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    }
    for (size_t i = 0; i < (o->kernels > 0 ? o->kernels : all); ++i) {
        const adamoe_kernel *kernel =
            o->kernels > 0 ? adamoe_registry_find(registry, o->kernel[i]) : adamoe_registry_at(registry, i);
        if (kernel == NULL) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--kernel: %s: no such kernel; `adamoe info' lists them",
                                o->kernel[i]);
        }
        for (size_t t = 0; t < o->token_counts && (o->kernels > 0 || strcmp(kernel->name, "reference") != 0);
             ++t) {
            add_case(s, kernel->name, o->tokens[t]);
        }
    }
    return adamoe_ok();
}

/* {"gate": {...}, "environment": ...} of one side. */
static adamoe_status collect(session *s, int side, json_t **out)
{
    const gate_options *o = s->options;
    const adamoe_collect_options options = {.program = s->speed.side[side].program,
                                            .plugin = s->speed.side[side].plugin,
                                            .kernel = o->kernel,
                                            .kernels = o->kernels,
                                            .check_case = o->check_case,
                                            .model = s->model,
                                            .questions = s->questions,
                                            .limit = o->limit,
                                            .seed = o->common.seed};
    json_t *check = NULL, *evaluation = NULL;
    adamoe_status status = adamoe_find_work(&s->speed, side, s->cases, s->count);
    if (status.code == ADAMOE_OK && !o->only_speed) {
        status = adamoe_collect(&options, &check, &evaluation);
    }
    if (status.code == ADAMOE_OK) {
        *out = json_pack("{s:O?,s:{s:O*,s:O*,s:o}}", "environment", json_object_get(check, "environment"),
                         "gate", "check", check, "evaluation", evaluation, "benchmarks",
                         adamoe_case_work_json(s->cases, s->count, side));
        status = *out == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "out of memory") : status;
    }
    json_decref(check);
    json_decref(evaluation);
    return status;
}

static void show_progress(size_t round, size_t rounds)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\rround %zu of %zu%s", round, rounds, round == rounds ? "\n" : "");
    }
}

/* A round counts once: too few of them could not find anything. */
static adamoe_status choose_rounds(session *s)
{
    const gate_options *o = s->options;
    const size_t needed = adamoe_pairs_needed(s->count, o->rules.alpha);
    s->speed.rounds = o->rounds;
    if (o->rounds == 0) {
        s->speed.rounds = needed > ROUNDS ? needed : ROUNDS;
    }
    return s->speed.rounds >= needed
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT,
                              "--rounds: %zu: for %zu tests at %g it takes at least %zu to find anything",
                              o->rounds, s->count, o->rules.alpha, needed);
}

static adamoe_status compare_with_build(session *s)
{
    json_t *base = NULL;
    adamoe_status status = choose_rounds(s);
    ADAMOE_TRY(status);
    status = collect(s, ADAMOE_SIDE_BASE, &base);
    if (status.code == ADAMOE_OK) {
        status = adamoe_compare_results(&s->comparison, s->other, base, "this build", s->now,
                                        (adamoe_sample_logs){0});
    }
    json_decref(base);
    ADAMOE_TRY(status);
    ADAMOE_TRY(adamoe_time_cases(&s->speed, s->cases, s->count, show_progress));
    (void)json_object_set_new(s->now, "speed", adamoe_speed_json(&s->speed, s->cases, s->count));
    return adamoe_compare_speed(&s->comparison, &s->speed, s->cases, s->count);
}

static adamoe_status compare_with_baseline(session *s)
{
    json_t *base = NULL;
    adamoe_status status = adamoe_json_read(s->options->baseline, &base);
    if (status.code == ADAMOE_OK) {
        status = adamoe_compare_results(&s->comparison, s->options->baseline, base, "this build", s->now,
                                        (adamoe_sample_logs){0});
    }
    json_decref(base);
    return status;
}

/* What fails now would be what is expected ever after. */
static adamoe_status write_baseline(const session *s)
{
    size_t i;
    const json_t *kernel;
    const json_t *check = json_object_get(json_object_get(s->now, "gate"), "check");
    json_array_foreach(json_object_get(check, "kernels"), i, kernel)
    {
        const char *status = json_string_value(json_object_get(kernel, "status"));
        if (status != NULL && strcmp(status, "failed") == 0) {
            return adamoe_error(ADAMOE_DIFFERENCE, "%s: not written: checks of %s fail",
                                s->options->write_baseline,
                                json_string_value(json_object_get(kernel, "kernel")));
        }
    }
    json_t *copy = json_deep_copy(s->now);
    adamoe_strip_to_baseline(copy);
    return adamoe_json_write(s->options->write_baseline, copy);
}

static adamoe_status report(session *s)
{
    const gate_options *o = s->options;
    if (s->prints) {
        if (o->against != NULL) {
            printf("%zu rounds of %zu pairs, measurements of %zu ms, %u thread%s\n", s->speed.rounds,
                   s->speed.pairs, o->milliseconds, s->speed.threads, s->speed.threads == 1 ? "" : "s");
        }
        if (o->against != NULL || o->baseline != NULL) {
            adamoe_print_comparison(&s->comparison);
        }
        adamoe_print_disturbance(&s->before);
    }
    if (o->markdown != NULL) {
        ADAMOE_TRY(adamoe_write_markdown(&s->comparison, "adamoe gate", o->markdown));
    }
    if (o->write_baseline != NULL) {
        ADAMOE_TRY(write_baseline(s));
    }
    (void)json_object_set_new(s->now, "environment", adamoe_environment_json(&s->before));
    (void)json_object_set_new(s->now, "comparison", adamoe_comparison_json(&s->comparison));
    return o->json == NULL ? adamoe_ok() : adamoe_json_write(o->json, json_incref(s->now));
}

static adamoe_status run_cases(session *s)
{
    const gate_options *o = s->options;
    ADAMOE_TRY(collect(s, ADAMOE_SIDE_NEW, &s->now));
    if (o->baseline != NULL) {
        ADAMOE_TRY(compare_with_baseline(s));
    }
    if (o->against != NULL) {
        ADAMOE_TRY(compare_with_build(s));
    }
    ADAMOE_TRY(adamoe_judge_comparison(&s->comparison));
    adamoe_hold_signals();
    const adamoe_status status = report(s);
    adamoe_release_signals();
    ADAMOE_TRY(status);
    return o->against != NULL || o->baseline != NULL ? adamoe_comparison_outcome(&s->comparison)
                                                     : adamoe_ok();
}

/* Before the minutes, not after. */
static adamoe_status check_files(const gate_options *o)
{
    const adamoe_result_file files[] = {
        {"--markdown", o->markdown}, {"--json", o->json}, {"--write-baseline", o->write_baseline}};
    return adamoe_check_result_files(files, sizeof files / sizeof *files);
}

static adamoe_status run(session *s)
{
    const gate_options *o = s->options;
    adamoe_registry *registry = NULL;
    if (adamoe_timed_preset(o->preset) == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--preset: %s: no such preset", o->preset);
    }
    ADAMOE_TRY(check_files(o));
    ADAMOE_TRY(find_model(s));
    ADAMOE_TRY(find_programs(s));
    s->speed = (adamoe_speed_options){
        .side = {{s->other, o->plugin_against != NULL ? o->plugin_against : o->common.plugin},
                 {s->program, o->common.plugin}},
        .preset = o->preset,
        .threads = o->common.threads != 0 ? o->common.threads : 1,
        .seed = o->common.seed,
        .pairs = o->pairs,
        .seconds = 1e-3 * (double)o->milliseconds};
    ADAMOE_TRY(adamoe_registry_create(&registry));
    adamoe_status status =
        o->common.plugin == NULL ? adamoe_ok() : adamoe_registry_load(registry, o->common.plugin);
    if (status.code == ADAMOE_OK) {
        status = choose_cases(s, registry);
    }
    if (status.code == ADAMOE_OK) {
        status = run_cases(s);
    }
    adamoe_registry_free(registry);
    return status;
}

int adamoe_verb_gate(int count, char **arguments)
{
    gate_options options = {.common = {.seed = 1},
                            .preset = "gate",
                            .tokens = {1, 16},
                            .token_counts = 2,
                            .pairs = 11,
                            .milliseconds = 4,
                            .check_case = "tokens:7/",
                            .limit = 20,
                            .rules = adamoe_comparison_defaults};
    adamoe_parse(&gate_argp, count, arguments, &options);
    (void)signal(SIGPIPE, SIG_IGN); /* a worker that is gone is an error with a message */
    /* Who asks for some kernels leaves out the others on purpose. */
    options.rules.missing_fails = options.baseline != NULL && options.kernels == 0;
    session s = {.options = &options,
                 .comparison = {.options = options.rules},
                 .prints = adamoe_json_leaves_stdout(options.json) &&
                           adamoe_json_leaves_stdout(options.markdown) &&
                           adamoe_json_leaves_stdout(options.write_baseline)};
    adamoe_mark_load(&s.before);
    const adamoe_status status = run(&s);
    for (size_t i = 0; i < s.count; ++i) {
        free(s.cases[i].log_ratio);
    }
    free(s.cases);
    json_decref(s.now);
    adamoe_free_comparison(&s.comparison);
    return adamoe_finish("gate", status);
}

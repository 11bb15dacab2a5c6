/*
 * adamoe gate: did a change make anything worse? Against another build on this machine, or against a baseline
 * that any machine can hold. For CI.
 */
#include "program/environment.h"
#include "gate/collect.h"
#include "gate/options.h"
#include "gate/speed.h"
#include "program/held_signals.h"
#include "files/json_file.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "program/shipped.h"
#include "gate/timed_layer.h"
#include "verbs.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Found by simulation, tests/bench/gate_noise_test.c: with so many a slowdown of 5 % is found in 9 runs of 10
 * where processes differ by 2 %. */
#define ROUNDS 20

typedef struct session {
    const adamoe_gate_options *options;
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
    const adamoe_gate_options *o = s->options;
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
    const adamoe_gate_options *o = s->options;
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
    const adamoe_gate_options *o = s->options;
    const adamoe_collect_options options = {.program = s->speed.side[side].program,
                                            .plugin = s->speed.side[side].plugin,
                                            .command = o->common.command,
                                            .commands = o->common.commands,
                                            .kernel = o->kernel,
                                            .kernels = o->kernels,
                                            .check_case = o->check_case,
                                            .model = s->model,
                                            .questions = s->questions,
                                            .limit = o->limit,
                                            .seed = o->common.seed,
                                            .is_older = side == ADAMOE_SIDE_BASE};
    json_t *check = NULL, *evaluation = NULL, *benchmarks = NULL;
    adamoe_status status = adamoe_find_work(&s->speed, side, s->cases, s->count);
    if (status.code == ADAMOE_OK) {
        benchmarks = adamoe_case_work_json(s->cases, s->count, side);
        status = benchmarks == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "out of memory") : status;
    }
    if (status.code == ADAMOE_OK && !o->only_speed) {
        status = adamoe_collect(&options, &check, &evaluation, benchmarks);
    }
    if (status.code == ADAMOE_OK) {
        *out = json_pack("{s:O?,s:{s:O*,s:O*,s:O}}", "environment", json_object_get(check, "environment"),
                         "gate", "check", check, "evaluation", evaluation, "benchmarks", benchmarks);
        status = *out == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "out of memory") : status;
    }
    json_decref(check);
    json_decref(evaluation);
    json_decref(benchmarks);
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
    const adamoe_gate_options *o = s->options;
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

static bool is_asked_for(const adamoe_gate_options *o, const char *kernel, size_t length)
{
    bool asked = o->kernels == 0;
    for (size_t i = 0; i < o->kernels; ++i) {
        asked = asked || (strlen(o->kernel[i]) == length && strncmp(o->kernel[i], kernel, length) == 0);
    }
    return asked;
}

/* The kernel in the name of what is timed, PRESET/KERNEL/tokens:...; NULL of what travels, which is no kernel's. */
static const char *kernel_in(const char *name)
{
    const char *slash = name == NULL || strncmp(name, "wire/", 5) == 0 ? NULL : strchr(name, '/');
    return slash == NULL ? NULL : slash + 1;
}

/* What a baseline has of kernels that were not asked for is not missing: it is left out, and that is said. */
static void leave_out_other_kernels(const adamoe_gate_options *o, json_t *gate,
                                    adamoe_result_comparison *comparison)
{
    json_t *checks = json_object_get(json_object_get(gate, "check"), "kernels");
    json_t *benchmarks = json_object_get(gate, "benchmarks");
    size_t others = 0;
    for (size_t i = json_array_size(checks); i-- > 0;) {
        const char *name = json_string_value(json_object_get(json_array_get(checks, i), "kernel"));
        if (name != NULL && !is_asked_for(o, name, strlen(name))) {
            (void)json_array_remove(checks, i);
            ++others;
        }
    }
    for (size_t i = json_array_size(benchmarks); i-- > 0;) {
        const char *kernel =
            kernel_in(json_string_value(json_object_get(json_array_get(benchmarks, i), "name")));
        if (kernel != NULL && !is_asked_for(o, kernel, strcspn(kernel, "/"))) {
            (void)json_array_remove(benchmarks, i);
        }
    }
    if (others > 0) {
        adamoe_add_note(comparison, "Left out by --kernel: %zu other kernel%s of the baseline.", others,
                        others == 1 ? "" : "s");
    }
}

static adamoe_status compare_with_baseline(session *s)
{
    json_t *base = NULL;
    adamoe_status status = adamoe_json_read(s->options->baseline, &base);
    if (status.code == ADAMOE_OK) {
        leave_out_other_kernels(s->options, json_object_get(base, "gate"), &s->comparison);
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
    const adamoe_gate_options *o = s->options;
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
    const adamoe_gate_options *o = s->options;
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
static adamoe_status check_files(const adamoe_gate_options *o)
{
    const adamoe_result_file files[] = {
        {"--markdown", o->markdown}, {"--json", o->json}, {"--write-baseline", o->write_baseline}};
    const char *const inputs[] = {o->baseline, o->model, o->questions, o->plugin_against};
    return adamoe_check_result_files(files, sizeof files / sizeof *files, inputs,
                                     sizeof inputs / sizeof *inputs, &o->common);
}

static adamoe_status run(session *s)
{
    const adamoe_gate_options *o = s->options;
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
        .command = o->common.command,
        .commands = o->common.commands,
        .threads = o->common.threads != 0 ? o->common.threads : 1,
        .seed = o->common.seed,
        .pairs = o->pairs,
        .seconds = 1e-3 * (double)o->milliseconds};
    ADAMOE_TRY(adamoe_registry_create(&registry));
    adamoe_status status = adamoe_load_kernels(&o->common, registry);
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
    const adamoe_gate_options options = adamoe_gate_parse(count, arguments);
    (void)signal(SIGPIPE, SIG_IGN); /* a worker that is gone is an error with a message */
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

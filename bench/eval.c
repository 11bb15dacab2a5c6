/*
 * adamoe eval: what a model scores on multiple-choice questions, and what that costs, from the same run.
 */
#include "batch.h"
#include "eval_report.h"
#include "host.h"
#include "json_output.h"
#include "memory.h"
#include "model_folder.h"
#include "team.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    OPTION_MODEL = 1,
    OPTION_QUESTIONS,
    OPTION_FORMAT,
    OPTION_BOS,
    OPTION_LIMIT,
    OPTION_TOP_K,
    OPTION_NULL_EXPERTS,
    OPTION_NORM,
    OPTION_NULL_KIND,
    OPTION_BASELINE_K,
    OPTION_BATCH_TOKENS,
    OPTION_JSON,
    OPTION_SAMPLES,
};

#define AS_THE_MODEL_SAYS SIZE_MAX

typedef struct eval_options {
    adamoe_common_options common;
    const char *model, *questions, *json, *samples;
    adamoe_format format;
    adamoe_bos bos;
    size_t limit, top_k, null_experts, baseline_k, batch_tokens;
    int norm, null_kind; /* -1: as the model says */
} eval_options;

static const struct argp_option options_list[] = {
    {"model", OPTION_MODEL, "DIR", 0, "Hugging Face folder (required)", 0},
    {"questions", OPTION_QUESTIONS, "FILE", 0, "Questions, a JSON object a line (required)", 0},
    {"format", OPTION_FORMAT, "cloze|letter", 0, "Score the choice's text (default) or its letter", 0},
    {"bos", OPTION_BOS, "auto|always|never", 0, "Begin-of-sequence token: as the tokenizer says (default)",
     0},
    {"limit", OPTION_LIMIT, "N", 0, "Only the first N questions", 0},
    {0, 0, 0, 0, "How experts are selected (default: as the model's config says):", 1},
    {"top-k", OPTION_TOP_K, "K", 0, "Experts per token, true and null", 1},
    {"null-experts", OPTION_NULL_EXPERTS, "M", 0,
     "Convert: M null experts that copy the rows of the gate; 0 drops those there are", 1},
    {"norm", OPTION_NORM, "true|all|none", 0, "What weights are normalised over", 1},
    {"null-kind", OPTION_NULL_KIND, "zero|identity", 0, "What null experts return", 1},
    {0, 0, 0, 0, "Results:", 2},
    {"baseline-k", OPTION_BASELINE_K, "K", 0, "Top-k that reductions are measured against (default: 2)", 2},
    {"batch-tokens", OPTION_BATCH_TOKENS, "N", 0, "Tokens run together (default: 4096)", 2},
    {"json", OPTION_JSON, "FILE", 0, "Write the results as JSON, `-' for standard output", 2},
    {"samples", OPTION_SAMPLES, "FILE", 0, "Write a JSON line for each question", 2},
    {0},
};

static error_t parse_selection(int key, char *value, struct argp_state *state)
{
    eval_options *o = state->input;
    switch (key) {
    case OPTION_TOP_K:
        o->top_k = (size_t)adamoe_parse_count(state, "--top-k", value, 1, UINT32_MAX);
        return 0;
    case OPTION_NULL_EXPERTS:
        o->null_experts = (size_t)adamoe_parse_count(state, "--null-experts", value, 0, UINT32_MAX);
        return 0;
    case OPTION_NORM:
        o->norm = (int)adamoe_parse_choice(state, "--norm", value, adamoe_norm_names, 3);
        return 0;
    case OPTION_NULL_KIND:
        o->null_kind = (int)adamoe_parse_choice(state, "--null-kind", value, adamoe_null_kind_names, 2);
        return 0;
    case OPTION_BASELINE_K:
        o->baseline_k = (size_t)adamoe_parse_count(state, "--baseline-k", value, 1, UINT32_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    static const char *const formats[] = {"cloze", "letter"};
    static const char *const bos_choices[] = {"auto", "always", "never"};
    eval_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_MODEL:
        o->model = value;
        return 0;
    case OPTION_QUESTIONS:
        o->questions = value;
        return 0;
    case OPTION_FORMAT:
        o->format = (adamoe_format)adamoe_parse_choice(state, "--format", value, formats, 2);
        return 0;
    case OPTION_BOS:
        o->bos = (adamoe_bos)adamoe_parse_choice(state, "--bos", value, bos_choices, 3);
        return 0;
    case OPTION_LIMIT:
        o->limit = (size_t)adamoe_parse_count(state, "--limit", value, 1, SIZE_MAX);
        return 0;
    case OPTION_BATCH_TOKENS:
        o->batch_tokens = (size_t)adamoe_parse_count(state, "--batch-tokens", value, 1, 1u << 24);
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case OPTION_SAMPLES:
        o->samples = value;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s': no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        if (o->model == NULL || o->questions == NULL) {
            argp_error(state, "--model and --questions are required");
        }
        return 0;
    default:
        return parse_selection(key, value, state);
    }
}

static const struct argp_child children[] = {{&adamoe_common_argp, 0, 0, 0}, {0}};

static const struct argp eval_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Scores multiple-choice questions as the Language Model Evaluation Harness does (arc_challenge, "
           "zero-shot), "
           "and counts load, FLOPs and time of the same run."
           "\vExample:\n  adamoe eval --model datasets/tiny-adamoe --questions "
           "datasets/arc-style/questions.jsonl\n",
    .children = children,
};

/* Everything that one evaluation holds. */
typedef struct evaluation {
    const eval_options *options;
    const adamoe_kernel *kernel;
    adamoe_model_folder folder;
    adamoe_questions *questions;
    size_t count; /* questions that are scored */
    adamoe_prompt *prompt;
    adamoe_outcome *outcome;
    adamoe_team *team;
    adamoe_forward *forward;
    adamoe_scorer scorer;
} evaluation;

static adamoe_rule wanted_rule(const eval_options *o, const adamoe_checkpoint *checkpoint)
{
    adamoe_rule rule = adamoe_checkpoint_model(checkpoint)->config.rule;
    rule.top_k = o->top_k != 0 ? o->top_k : rule.top_k;
    rule.norm = o->norm >= 0 ? (adamoe_norm)o->norm : rule.norm;
    rule.null_kind = o->null_kind >= 0 ? (adamoe_null_kind)o->null_kind : rule.null_kind;
    return rule;
}

/* The number of experts and top-k must fit together at each step: before experts are dropped k shrinks, after
 * they were added it grows. */
static adamoe_status convert(const eval_options *o, adamoe_checkpoint *checkpoint)
{
    if (o->null_experts == 0) {
        ADAMOE_TRY(adamoe_checkpoint_set_rule(checkpoint, wanted_rule(o, checkpoint)));
    }
    if (o->null_experts != AS_THE_MODEL_SAYS) {
        ADAMOE_TRY(adamoe_checkpoint_set_null_experts(checkpoint, o->null_experts));
    }
    return adamoe_checkpoint_set_rule(checkpoint, wanted_rule(o, checkpoint));
}

static adamoe_status make_prompts(evaluation *e)
{
    const adamoe_config *config = &adamoe_checkpoint_model(e->folder.checkpoint)->config;
    const adamoe_prompt_rule rule = {.format = e->options->format,
                                     .bos = e->options->bos,
                                     .has_bos = config->has_bos,
                                     .bos_id = config->bos,
                                     .context = config->context};
    e->prompt = calloc(e->count, sizeof *e->prompt);
    e->outcome = calloc(e->count, sizeof *e->outcome);
    if (e->prompt == NULL || e->outcome == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
    }
    for (size_t q = 0; q < e->count; ++q) {
        const adamoe_question *question = &e->questions->question[q];
        const adamoe_status status =
            adamoe_prompt_create(question, e->folder.tokenizer, &rule, &e->prompt[q]);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "%s: %.400s", e->options->questions, status.message);
        }
        e->outcome[q].logprob = calloc(question->choices, sizeof(double));
        if (e->outcome[q].logprob == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
        }
    }
    return adamoe_ok();
}

/* The naive model needs no preparation; everything else goes through the contract. */
static adamoe_status prepare(evaluation *e)
{
    const adamoe_model *model = adamoe_checkpoint_model(e->folder.checkpoint);
    if (strcmp(e->kernel->name, "reference") != 0) {
        const adamoe_placement placement = adamoe_one_node(e->team->threads);
        /* Half of what is free may hold prepared weights; activations, results and other programs need the
         * rest. */
        ADAMOE_TRY(adamoe_forward_create(e->kernel, model, e->team, &placement, adamoe_available_memory() / 2,
                                         &e->forward));
    }
    return adamoe_scorer_create(model, e->forward, &e->scorer);
}

static void show_progress(const evaluation *e, size_t done)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%zu of %zu questions%s", done, e->count, done == e->count ? "\r\033[K" : "");
    }
}

/* As many prompts as come to --batch-tokens tokens, at least one; the naive model takes one at a time. */
static size_t batch_end(const evaluation *e, size_t first)
{
    size_t end = first, tokens = 0;
    do {
        tokens += adamoe_prompt_tokens(&e->prompt[end++]);
    } while (e->forward != NULL && end < e->count &&
             tokens + adamoe_prompt_tokens(&e->prompt[end]) <= e->options->batch_tokens);
    return end;
}

static adamoe_status score_batch(evaluation *e, size_t first, size_t end)
{
    double **logprob = calloc(end - first, sizeof *logprob);
    if (logprob == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
    }
    for (size_t q = first; q < end; ++q) {
        logprob[q - first] = e->outcome[q].logprob;
    }
    const adamoe_status status = adamoe_score(&e->scorer, e->prompt + first, end - first, logprob);
    free(logprob);
    if (status.code != ADAMOE_OK) {
        return adamoe_error(status.code, "%s: questions %zu to %zu: %.400s", e->options->model, first + 1,
                            end, status.message);
    }
    for (size_t q = first; q < end; ++q) {
        adamoe_predict(&e->prompt[q], &e->outcome[q]);
    }
    return status;
}

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static adamoe_status score_all(evaluation *e, double *seconds)
{
    const double start = now();
    for (size_t first = 0; first < e->count;) {
        const size_t end = batch_end(e, first);
        ADAMOE_TRY(score_batch(e, first, end));
        show_progress(e, end);
        first = end;
    }
    *seconds = now() - start;
    return adamoe_ok();
}

/* The file name without folder and suffix. */
static char *task_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(name, '.');
    return dot == NULL || dot == name ? strdup(name) : strndup(name, (size_t)(dot - name));
}

static adamoe_status report(const evaluation *e, double seconds)
{
    const eval_options *o = e->options;
    const adamoe_config *config = &adamoe_checkpoint_model(e->folder.checkpoint)->config;
    size_t right = 0, right_norm = 0;
    for (size_t q = 0; q < e->count; ++q) {
        right += e->outcome[q].prediction == e->questions->question[q].gold;
        right_norm += e->outcome[q].prediction_norm == e->questions->question[q].gold;
    }
    char implementation[128] = "";
    if (e->kernel->implementation != NULL) {
        e->kernel->implementation(NULL, implementation, sizeof implementation);
    }
    char *task = task_name(o->questions);
    if (task == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
    }
    const adamoe_eval_result result = {
        .task = task,
        .model = o->model,
        .questions = o->questions,
        .kernel = e->kernel->name,
        .implementation = implementation[0] == '\0' ? NULL : implementation,
        .format = o->format,
        .bos = o->bos,
        .config = config,
        .threads = e->forward == NULL ? 1 : e->team->threads,
        /* A model with fewer experts than that has its own number as baseline. */
        .baseline_k = o->baseline_k < config->experts ? o->baseline_k : config->experts,
        .count = e->count,
        .total = e->questions->count,
        .layer_by_layer = e->forward != NULL && !adamoe_forward_is_resident(e->forward),
        .accuracy = adamoe_accuracy_of(right, e->count),
        .accuracy_norm = adamoe_accuracy_of(right_norm, e->count),
        .counts = &e->scorer.counts,
        .work = e->scorer.work,
        .seconds = seconds,
    };
    if (adamoe_json_leaves_stdout(o->json)) {
        adamoe_eval_print(&result);
    }
    adamoe_status status = adamoe_ok();
    if (o->samples != NULL) {
        status = adamoe_eval_write_samples(o->samples, e->questions, e->outcome, e->count);
    }
    if (status.code == ADAMOE_OK && o->json != NULL) {
        status = adamoe_json_write(o->json, adamoe_eval_json(&result));
    }
    free(task);
    return status;
}

static adamoe_status evaluate(evaluation *e)
{
    const eval_options *o = e->options;
    double seconds = 0.0;
    ADAMOE_TRY(adamoe_model_folder_open(o->model, &e->folder));
    ADAMOE_TRY(convert(o, e->folder.checkpoint));
    ADAMOE_TRY(adamoe_questions_read(o->questions, &e->questions));
    e->count = o->limit != 0 && o->limit < e->questions->count ? o->limit : e->questions->count;
    ADAMOE_TRY(make_prompts(e));
    ADAMOE_TRY(adamoe_team_create(o->common.threads != 0 ? o->common.threads : adamoe_available_processors(),
                                  &e->team));
    ADAMOE_TRY(prepare(e));
    ADAMOE_TRY(score_all(e, &seconds));
    return report(e, seconds);
}

static void free_evaluation(evaluation *e)
{
    for (size_t q = 0; q < e->count; ++q) {
        if (e->prompt != NULL) {
            adamoe_prompt_free(&e->prompt[q]);
        }
        if (e->outcome != NULL) {
            free(e->outcome[q].logprob);
        }
    }
    free(e->prompt);
    free(e->outcome);
    adamoe_scorer_free(&e->scorer);
    adamoe_forward_free(e->forward);
    adamoe_team_free(e->team);
    adamoe_questions_free(e->questions);
    adamoe_model_folder_close(&e->folder);
}

int adamoe_verb_eval(int count, char **arguments)
{
    eval_options options = {.null_experts = AS_THE_MODEL_SAYS,
                            .baseline_k = 2,
                            .batch_tokens = 4096,
                            .norm = -1,
                            .null_kind = -1,
                            .common = {.seed = 1}};
    adamoe_parse(&eval_argp, count, arguments, &options);
    evaluation e = {.options = &options};
    adamoe_registry *registry = NULL;
    adamoe_status status = adamoe_choose_kernel(&options.common, &registry, &e.kernel);
    if (status.code == ADAMOE_OK) {
        status = evaluate(&e);
    }
    free_evaluation(&e);
    adamoe_registry_free(registry);
    return adamoe_finish("eval", status);
}

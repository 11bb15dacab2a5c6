/*
 * adamoe reproduce: the main job on what ships with the project. A quick check of every kernel, a quick look
 * at their throughput, then the same questions by the same model as vanilla top-k and with null experts, side
 * by side, with the paper's row beneath.
 */
#include "check_run.h"
#include "evaluate.h"
#include "json_output.h"
#include "quick_throughput.h"
#include "team.h"
#include "verbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_MODEL = 1,
    OPTION_QUESTIONS,
    OPTION_JSON,
};

typedef struct reproduce_options {
    adamoe_common_options common;
    const char *model, *questions, *json;
} reproduce_options;

static const struct argp_option options_list[] = {
    {"model", OPTION_MODEL, "DIR", 0, "An AdaMoE checkpoint (default: datasets/tiny-adamoe)", 0},
    {"questions", OPTION_QUESTIONS, "FILE", 0, "Questions (default: datasets/arc-style/questions.jsonl)", 0},
    {"json", OPTION_JSON, "FILE", 0, "Write the results as JSON, `-' for standard output", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    reproduce_options *o = state->input;
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
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s': no argument is expected", value);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&adamoe_common_argp, 0, 0, 0}, {0}};

static const struct argp reproduce_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Checks every kernel quickly, times them quickly, and evaluates a model as vanilla top-2 and as "
           "AdaMoE, side by "
           "side: accuracy, load, both FLOPs reductions and measured time, with the paper's row beneath."
           "\vExample, in the project's folder:\n  adamoe reproduce\n",
    .children = children,
};

/* The paper's ARC-C row: Mixtral-8x7B fine-tuned, top-2 against m = 8, k = 3. */
#define PAPER_TOP2_ACCURACY   0.8746
#define PAPER_ADAMOE_ACCURACY 0.8915
#define PAPER_LOAD            1.67
#define PAPER_FLOPS_REDUCTION 0.1455
#define PAPER_QUESTIONS       295

/* Every CHECK_STRIDE-th case of the grid: a look, not the check. */
#define CHECK_STRIDE 8
#define REPETITIONS  5

typedef struct reproduction {
    const reproduce_options *options;
    adamoe_registry *registry;
    const adamoe_kernel *kernel; /* for the evaluation */
    uint32_t threads;
    bool prints;
    size_t failed;
    json_t *checks, *throughput;
} reproduction;

/* ----------------------------------------------------------------------------------------------------- check
 */

static adamoe_status check_cases(const reproduction *r, const adamoe_kernel *kernel, const adamoe_case *cases,
                                 size_t count, size_t outcome[ADAMOE_CHECK_STATUSES], double *largest)
{
    adamoe_team *team = NULL;
    adamoe_status status = adamoe_team_create(r->threads, &team);
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; i += CHECK_STRIDE) {
        adamoe_check_result result;
        status = adamoe_check_run(kernel, &cases[i], r->options->common.seed, team, &result);
        if (status.code == ADAMOE_OK) {
            ++outcome[result.status];
            *largest = result.has_element ? fmax(*largest, result.largest_ratio) : *largest;
        }
    }
    adamoe_team_free(team);
    return status;
}

static adamoe_status check_kernel(reproduction *r, const adamoe_kernel *kernel, const adamoe_case *cases,
                                  size_t count)
{
    size_t outcome[ADAMOE_CHECK_STATUSES] = {0};
    double largest = 0.0;
    const char *why_not = "";
    const bool supported = kernel->supported(&why_not);
    if (supported) {
        ADAMOE_TRY(check_cases(r, kernel, cases, count, outcome, &largest));
    }
    r->failed += outcome[ADAMOE_CHECK_FAILED];
    if (r->prints && !supported) {
        printf("  %-12s skipped: %s\n", kernel->name, why_not);
    } else if (r->prints) {
        printf("  %-12s %3zu passed, %zu failed, %zu skipped, %zu vacuous; largest error / bound %.3f\n",
               kernel->name, outcome[ADAMOE_CHECK_PASSED], outcome[ADAMOE_CHECK_FAILED],
               outcome[ADAMOE_CHECK_SKIPPED], outcome[ADAMOE_CHECK_VACUOUS], largest);
    }
    json_array_append_new(r->checks,
                          json_pack("{s:s,s:b,s:I,s:I,s:I,s:I,s:o}", "kernel", kernel->name, "supported",
                                    (int)supported, "passed", (json_int_t)outcome[ADAMOE_CHECK_PASSED],
                                    "failed", (json_int_t)outcome[ADAMOE_CHECK_FAILED], "skipped",
                                    (json_int_t)outcome[ADAMOE_CHECK_SKIPPED], "vacuous",
                                    (json_int_t)outcome[ADAMOE_CHECK_VACUOUS], "largest_ratio",
                                    adamoe_json_number(largest)));
    return adamoe_ok();
}

static adamoe_status check_kernels(reproduction *r)
{
    adamoe_case *cases = NULL;
    size_t count = 0;
    ADAMOE_TRY(adamoe_check_grid(&cases, &count));
    if (r->prints) {
        printf("Quick check: %zu of the %zu cases of `adamoe check'\n",
               (count + CHECK_STRIDE - 1) / CHECK_STRIDE, count);
    }
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < adamoe_registry_count(r->registry) && status.code == ADAMOE_OK; ++i) {
        status = check_kernel(r, adamoe_registry_at(r->registry, i), cases, count);
    }
    free(cases);
    return status;
}

/* ------------------------------------------------------------------------------------------------ throughput
 */

static adamoe_status time_kernel(reproduction *r, const adamoe_kernel *kernel)
{
    adamoe_quick_timing timings[ADAMOE_QUICK_TIMINGS];
    ADAMOE_TRY(adamoe_quick_throughput(kernel, r->threads, r->options->common.seed, timings));
    json_t *list = json_array();
    if (r->prints) {
        printf("  %-12s", kernel->name);
    }
    for (size_t i = 0; i < ADAMOE_QUICK_TIMINGS; ++i) {
        if (r->prints) {
            printf("  %4zu tokens %7.1f", timings[i].tokens, timings[i].gflops);
        }
        json_array_append_new(list, json_pack("{s:I,s:f,s:f,s:f,s:f}", "tokens",
                                              (json_int_t)timings[i].tokens, "gflops", timings[i].gflops,
                                              "median_seconds", timings[i].seconds, "least_seconds",
                                              timings[i].least, "greatest_seconds", timings[i].greatest));
    }
    if (r->prints) {
        printf("\n");
    }
    json_array_append_new(r->throughput, json_pack("{s:s,s:o}", "kernel", kernel->name, "timings", list));
    return adamoe_ok();
}

/* The definition is left out: it is not for speed, and would take minutes. */
static adamoe_status time_kernels(reproduction *r)
{
    const adamoe_quick_layer *s = &adamoe_quick_sizes;
    const char *why_not = NULL;
    if (r->prints) {
        printf("\nQuick throughput, executed GFLOP/s of the experts: hidden size %zu, intermediate size %zu, "
               "%zu true and "
               "%zu null experts, load %.2f, %u threads, hot weights, median of 9\n",
               s->hidden_size, s->intermediate_size, s->experts, s->null_experts, s->load, r->threads);
    }
    for (size_t i = 0; i < adamoe_registry_count(r->registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(r->registry, i);
        if (strcmp(kernel->name, "reference") != 0 && kernel->supported(&why_not)) {
            ADAMOE_TRY(time_kernel(r, kernel));
        }
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ evaluation
 */

/* One side of the comparison, with the seconds of all its runs. */
typedef struct side {
    const char *name;
    adamoe_evaluation evaluation;
    adamoe_eval_result result;
    double seconds[REPETITIONS], median;
} side;

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static adamoe_status open_side(const reproduction *r, const char *name, size_t null_experts, size_t top_k,
                               side *out)
{
    adamoe_evaluate_options options = adamoe_evaluate_defaults;
    options.model = r->options->model;
    options.questions = r->options->questions;
    options.null_experts = null_experts;
    options.top_k = top_k;
    options.threads = r->threads;
    options.show_progress = false;
    options.measure_peak = false;
    out->name = name;
    return adamoe_evaluation_open(&options, r->kernel, &out->evaluation);
}

/* In turn, so that a disturbance meets both. */
static adamoe_status run_sides(side *vanilla, side *adaptive)
{
    for (size_t i = 0; i < REPETITIONS; ++i) {
        ADAMOE_TRY(adamoe_evaluation_run(&vanilla->evaluation));
        ADAMOE_TRY(adamoe_evaluation_run(&adaptive->evaluation));
        vanilla->seconds[i] = vanilla->evaluation.seconds;
        adaptive->seconds[i] = adaptive->evaluation.seconds;
    }
    side *const sides[] = {vanilla, adaptive};
    for (size_t i = 0; i < 2; ++i) {
        double sorted[REPETITIONS];
        memcpy(sorted, sides[i]->seconds, sizeof sorted);
        qsort(sorted, REPETITIONS, sizeof *sorted, compare);
        sides[i]->median = sorted[REPETITIONS / 2];
        sides[i]->result = adamoe_evaluation_result(&sides[i]->evaluation);
        sides[i]->result.seconds = sides[i]->median;
    }
    return adamoe_ok();
}

/* 1 - seconds / baseline seconds of each pair of runs: the median, the least and the greatest. */
typedef struct time_reduction {
    double median, least, greatest;
} time_reduction;

static time_reduction reduce_time(const side *vanilla, const side *adaptive)
{
    double pairs[REPETITIONS];
    for (size_t i = 0; i < REPETITIONS; ++i) {
        pairs[i] = 1.0 - adaptive->seconds[i] / vanilla->seconds[i];
    }
    qsort(pairs, REPETITIONS, sizeof *pairs, compare);
    return (time_reduction){pairs[REPETITIONS / 2], pairs[0], pairs[REPETITIONS - 1]};
}

static double expert_reduction(const adamoe_eval_result *r)
{
    return adamoe_expert_flops_reduction(adamoe_load(r->config, &r->work), r->baseline_k);
}

static double model_reduction(const adamoe_eval_result *r)
{
    const adamoe_work work = adamoe_baseline_work(r->config, &r->work, r->baseline_k);
    const adamoe_flops executed = adamoe_count_flops(r->config, r->config->null_experts, &r->work);
    const adamoe_flops baseline = adamoe_count_flops(r->config, 0, &work);
    return adamoe_model_flops_reduction(&executed, &baseline);
}

static void print_side(const side *s, const char *time)
{
    const adamoe_eval_result *r = &s->result;
    printf("  %-14s %6.2f (%.2f) %6.2f (%.2f)   %6.4f %9.2f %9.2f %16s\n", s->name, 100.0 * r->accuracy.mean,
           100.0 * r->accuracy.standard_error, 100.0 * r->accuracy_norm.mean,
           100.0 * r->accuracy_norm.standard_error, adamoe_load(r->config, &r->work),
           100.0 * expert_reduction(r), 100.0 * model_reduction(r), time);
}

static const char shipped_model[] = "datasets/tiny-adamoe";

static void print_comparison(const side *vanilla, const side *adaptive)
{
    const time_reduction time = reduce_time(vanilla, adaptive);
    const adamoe_eval_result *r = &adaptive->result;
    char measured[64];
    (void)snprintf(measured, sizeof measured, "%.1f (%.1f..%.1f)", 100.0 * time.median, 100.0 * time.least,
                   100.0 * time.greatest);
    printf("\n%s on %zu questions of %s, kernel %s, %u threads, %d runs in turn; percent\n", r->model,
           r->count, r->task, r->kernel, r->threads, REPETITIONS);
    printf("  %-14s %-14s %-14s   %6s %9s %9s %16s\n", "", "acc (s.e.)", "acc_norm", "load", "expert",
           "model", "time");
    printf("  %-14s %-14s %-14s   %6s %9s %9s %16s\n", "", "", "", "", "FLOPs -", "FLOPs -",
           "- (least..most)");
    print_side(vanilla, "0");
    print_side(adaptive, measured);
    printf("  %-14s %6.2f         %6s           %6.4f %9.2f %9.2f %16s\n", "paper, top-2",
           100.0 * PAPER_TOP2_ACCURACY, "", 2.0, 0.0, 0.0, "");
    printf("  %-14s %6.2f         %6s           %6.4f %9.2f %9.2f %16s\n", "paper, AdaMoE",
           100.0 * PAPER_ADAMOE_ACCURACY, "", PAPER_LOAD, 100.0 * (1.0 - PAPER_LOAD / 2.0),
           100.0 * PAPER_FLOPS_REDUCTION, "not given");
    printf("\nThe paper: Mixtral-8x7B fine-tuned, ARC-C, %d questions; its difference is five questions, "
           "where the\n"
           "standard error is about 1.9 points. Its %%FLOPs is the whole model's.\n",
           PAPER_QUESTIONS);
    if (strcmp(r->model, shipped_model) == 0) {
        printf("The weights that ship are random: their accuracy means nothing yet, it is chance. On so "
               "small a model\n"
               "time is mostly overhead, so that saved FLOPs need not become saved time.\n");
    }
}

static json_t *comparison_json(const side *vanilla, const side *adaptive)
{
    const time_reduction time = reduce_time(vanilla, adaptive);
    return json_pack("{s:o,s:o,s:{s:f,s:f,s:f},s:{s:f,s:f,s:f,s:f,s:i}}", "top_k",
                     adamoe_eval_json(&vanilla->result), "adamoe", adamoe_eval_json(&adaptive->result),
                     "time_reduction", "median", time.median, "least", time.least, "greatest", time.greatest,
                     "paper", "top_2_accuracy", PAPER_TOP2_ACCURACY, "adamoe_accuracy", PAPER_ADAMOE_ACCURACY,
                     "load", PAPER_LOAD, "model_flops_reduction", PAPER_FLOPS_REDUCTION, "questions",
                     PAPER_QUESTIONS);
}

static adamoe_status report(reproduction *r, const side *vanilla, const side *adaptive)
{
    if (r->prints) {
        print_comparison(vanilla, adaptive);
    }
    if (r->options->json == NULL) {
        return adamoe_ok();
    }
    return adamoe_json_write(r->options->json,
                             json_pack("{s:O,s:O,s:o}", "check", r->checks, "throughput", r->throughput,
                                       "evaluation", comparison_json(vanilla, adaptive)));
}

static adamoe_status evaluate(reproduction *r)
{
    side vanilla = {0}, adaptive = {0};
    adamoe_status status = open_side(r, "top-2", 0, 2, &vanilla);
    if (status.code == ADAMOE_OK) {
        status = open_side(r, "AdaMoE", ADAMOE_AS_THE_MODEL_SAYS, 0, &adaptive);
    }
    if (status.code == ADAMOE_OK) {
        status = run_sides(&vanilla, &adaptive);
    }
    if (status.code == ADAMOE_OK) {
        status = report(r, &vanilla, &adaptive);
    }
    adamoe_evaluation_free(&vanilla.evaluation);
    adamoe_evaluation_free(&adaptive.evaluation);
    return status;
}

static adamoe_status run_all(reproduction *r)
{
    r->checks = json_array();
    r->throughput = json_array();
    ADAMOE_TRY(check_kernels(r));
    ADAMOE_TRY(time_kernels(r));
    ADAMOE_TRY(evaluate(r));
    return r->failed == 0 ? adamoe_ok()
                          : adamoe_error(ADAMOE_DIFFERENCE,
                                         "check: %zu cases failed; `adamoe check' says which", r->failed);
}

int adamoe_verb_reproduce(int count, char **arguments)
{
    reproduce_options options = {
        .common = {.seed = 1}, .model = shipped_model, .questions = "datasets/arc-style/questions.jsonl"};
    adamoe_parse(&reproduce_argp, count, arguments, &options);
    reproduction r = {.options = &options,
                      .threads = options.common.threads != 0 ? options.common.threads
                                                             : adamoe_available_processors(),
                      .prints = adamoe_json_leaves_stdout(options.json)};
    adamoe_status status = adamoe_choose_kernel(&options.common, &r.registry, &r.kernel);
    if (status.code == ADAMOE_OK) {
        status = run_all(&r);
    }
    json_decref(r.checks);
    json_decref(r.throughput);
    adamoe_registry_free(r.registry);
    return adamoe_finish("reproduce", status);
}

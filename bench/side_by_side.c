/*
 * Vanilla top-2 against null experts on one model, questions and kernel.
 */
#include "side_by_side.h"
#include "statistics.h"

#include <stdio.h>
#include <string.h>

/* The paper's ARC-C row: Mixtral-8x7B fine-tuned, top-2 against m = 8, k = 3. */
#define PAPER_TOP2_ACCURACY   0.8746
#define PAPER_ADAMOE_ACCURACY 0.8915
#define PAPER_LOAD            1.67
#define PAPER_FLOPS_REDUCTION 0.1455
#define PAPER_QUESTIONS       295

/* --------------------------------------------------------------------------------------------- evaluation */

/* What the model says, but for the two sizes. */
adamoe_status adamoe_side_by_side_open(const char *model, const char *questions,
                                       const adamoe_machine *machine, const adamoe_kernel *kernel,
                                       adamoe_side_by_side *out)
{
    adamoe_evaluate_options options = adamoe_evaluate_defaults;
    options.model = model;
    options.questions = questions;
    options.show_progress = false;
    options.measure_peak = false;
    *out = (adamoe_side_by_side){.vanilla = {.name = "top-2"}, .adaptive = {.name = "AdaMoE"}};
    ADAMOE_TRY(adamoe_evaluation_open(&options, kernel, machine, &out->adaptive.evaluation));
    options.null_experts = 0;
    options.top_k = 2;
    const adamoe_status status = adamoe_evaluation_open(&options, kernel, machine, &out->vanilla.evaluation);
    return status.code == ADAMOE_OK
               ? status
               : adamoe_error(status.code, "%.100s as vanilla top-2: %.380s", model, status.message);
}

void adamoe_side_by_side_free(adamoe_side_by_side *sides)
{
    adamoe_evaluation_free(&sides->vanilla.evaluation);
    adamoe_evaluation_free(&sides->adaptive.evaluation);
}

static adamoe_status run_once(adamoe_side *side, size_t repetition)
{
    ADAMOE_TRY(adamoe_evaluation_run(&side->evaluation));
    side->seconds[repetition] = side->evaluation.seconds;
    return adamoe_ok();
}

static void take_result(adamoe_side *side)
{
    double sorted[ADAMOE_SIDE_RUNS];
    memcpy(sorted, side->seconds, sizeof sorted);
    adamoe_sort(sorted, ADAMOE_SIDE_RUNS);
    side->result = adamoe_evaluation_result(&side->evaluation);
    side->result.seconds = adamoe_median(sorted, ADAMOE_SIDE_RUNS);
}

/* In turn, so that a disturbance meets both; the order changes, so that neither is always the one that finds
 * the caches as the other left them. The first run of each meets cold pages and code not yet compiled: it is
 * overwritten. */
adamoe_status adamoe_side_by_side_run(adamoe_side_by_side *sides)
{
    ADAMOE_TRY(run_once(&sides->vanilla, 0));
    ADAMOE_TRY(run_once(&sides->adaptive, 0));
    for (size_t i = 0; i < ADAMOE_SIDE_RUNS; ++i) {
        const bool swapped = i % 2 == 1;
        ADAMOE_TRY(run_once(swapped ? &sides->adaptive : &sides->vanilla, i));
        ADAMOE_TRY(run_once(swapped ? &sides->vanilla : &sides->adaptive, i));
    }
    take_result(&sides->vanilla);
    take_result(&sides->adaptive);
    return adamoe_ok();
}

/* 1 - seconds / vanilla seconds of each pair of runs: the median, the least and the greatest. */
typedef struct time_reduction {
    double median, least, greatest;
} time_reduction;

static time_reduction reduce_time(const adamoe_side_by_side *sides)
{
    double pairs[ADAMOE_SIDE_RUNS];
    for (size_t i = 0; i < ADAMOE_SIDE_RUNS; ++i) {
        pairs[i] = 1.0 - sides->adaptive.seconds[i] / sides->vanilla.seconds[i];
    }
    adamoe_sort(pairs, ADAMOE_SIDE_RUNS);
    return (time_reduction){adamoe_median(pairs, ADAMOE_SIDE_RUNS), pairs[0], pairs[ADAMOE_SIDE_RUNS - 1]};
}

/* ------------------------------------------------------------------------------------------------- report */

static void print_side(const adamoe_side *side, const char *time)
{
    const adamoe_eval_result *r = &side->result;
    const adamoe_eval_cost cost = adamoe_eval_cost_of(r);
    printf("  %-14s %6.2f (%s) %6.2f (%s)   %6.4f %9.2f %9.2f %16s\n", side->name, 100.0 * r->accuracy.mean,
           adamoe_standard_error_text(&r->accuracy).text, 100.0 * r->accuracy_norm.mean,
           adamoe_standard_error_text(&r->accuracy_norm).text, cost.load, 100.0 * cost.expert_reduction,
           100.0 * cost.model_reduction, time);
}

static void print_paper(void)
{
    printf("  %-14s %6.2f         %6s           %6.4f %9.2f %9.2f %16s\n", "paper, top-2",
           100.0 * PAPER_TOP2_ACCURACY, "", 2.0, 0.0, 0.0, "");
    printf("  %-14s %6.2f         %6s           %6.4f %9.2f %9.2f %16s\n", "paper, AdaMoE",
           100.0 * PAPER_ADAMOE_ACCURACY, "", PAPER_LOAD, 100.0 * (1.0 - PAPER_LOAD / 2.0),
           100.0 * PAPER_FLOPS_REDUCTION, "not given");
    printf("\nThe paper: Mixtral-8x7B fine-tuned, ARC-C, %d questions; its difference is five questions, "
           "where the\n"
           "standard error is about 1.9 points. Its %%FLOPs is the whole model's.\n",
           PAPER_QUESTIONS);
}

void adamoe_side_by_side_print(const adamoe_side_by_side *sides)
{
    const time_reduction time = reduce_time(sides);
    const adamoe_eval_result *r = &sides->adaptive.result;
    char measured[64];
    (void)snprintf(measured, sizeof measured, "%.1f (%.1f..%.1f)", 100.0 * time.median, 100.0 * time.least,
                   100.0 * time.greatest);
    printf("\n%s on %zu questions of %s, kernel %s, %u threads, %d runs in turn; percent\n", r->model,
           r->count, r->task, r->kernel, r->threads, ADAMOE_SIDE_RUNS);
    printf("  %-14s %-14s %-14s   %6s %9s %9s %16s\n", "", "acc (s.e.)", "acc_norm", "load", "expert",
           "model", "time");
    printf("  %-14s %-14s %-14s   %6s %9s %9s %16s\n", "", "", "", "", "FLOPs -", "FLOPs -",
           "- (least..most)");
    print_side(&sides->vanilla, "0");
    print_side(&sides->adaptive, measured);
    print_paper();
    if (r->weights_are_random) {
        printf("The weights are random: the accuracy means nothing, it is chance. On so small a model time "
               "is mostly\n"
               "overhead, so that saved FLOPs need not become saved time.\n");
    }
}

json_t *adamoe_side_by_side_json(const adamoe_side_by_side *sides)
{
    const time_reduction time = reduce_time(sides);
    return json_pack("{s:o,s:o,s:{s:f,s:f,s:f},s:b,s:{s:f,s:f,s:f,s:f,s:i}}", "vanilla",
                     adamoe_eval_json(&sides->vanilla.result), "adamoe",
                     adamoe_eval_json(&sides->adaptive.result), "time_reduction", "median", time.median,
                     "least", time.least, "greatest", time.greatest, "weights_are_random",
                     (int)sides->adaptive.result.weights_are_random, "paper", "top_2_accuracy",
                     PAPER_TOP2_ACCURACY, "adamoe_accuracy", PAPER_ADAMOE_ACCURACY, "load", PAPER_LOAD,
                     "model_flops_reduction", PAPER_FLOPS_REDUCTION, "questions", PAPER_QUESTIONS);
}

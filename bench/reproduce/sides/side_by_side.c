/*
 * A top-k model against one with null experts on the same questions and kernel: opening, running, judging.
 */
#include "reproduce/sides/side_by_side.h"
#include "ranks/shared_load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ opening */

static const adamoe_config *config_of(const adamoe_side *side)
{
    return &adamoe_checkpoint_model(side->evaluation.folder.checkpoint)->config;
}

static adamoe_evaluate_options quiet_options(const adamoe_side_options *o, const char *model)
{
    adamoe_evaluate_options options = adamoe_evaluate_defaults;
    options.model = model;
    options.questions = o->questions;
    if (o->world != NULL) {
        options.world = o->world;
        options.ranks = o->ranks;
    }
    options.show_progress = false;
    options.measure_peak = false;
    return options;
}

/* Without a folder of its own the baseline is the model itself, its null experts dropped. */
static adamoe_status open_vanilla(const adamoe_side_options *o, const adamoe_machine *machine,
                                  const adamoe_kernel *kernel, adamoe_side *side)
{
    adamoe_evaluate_options options = quiet_options(o, o->baseline);
    if (o->baseline == NULL) {
        options.model = o->model;
        options.selection.null_experts = 0;
        options.selection.top_k = 2;
    }
    const adamoe_status status = adamoe_evaluation_open(&options, kernel, machine, &side->evaluation);
    if (status.code != ADAMOE_OK && o->baseline == NULL) {
        return adamoe_error(status.code, "%.100s as vanilla top-2: %.380s", o->model, status.message);
    }
    if (status.code == ADAMOE_OK && config_of(side)->null_experts > 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--baseline: %.300s: it has %zu null experts", o->baseline,
                            config_of(side)->null_experts);
    }
    return status;
}

static adamoe_status open_adaptive(const adamoe_side_options *o, size_t baseline_k,
                                   const adamoe_machine *machine, const adamoe_kernel *kernel,
                                   adamoe_side *side)
{
    adamoe_evaluate_options options = quiet_options(o, o->model);
    options.baseline_k = baseline_k;
    ADAMOE_TRY(adamoe_evaluation_open(&options, kernel, machine, &side->evaluation));
    return config_of(side)->null_experts > 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--model: %.300s: it has no null experts", o->model);
}

static bool same_tokens(const adamoe_tokens *a, const adamoe_tokens *b)
{
    return a->count == b->count && (a->count == 0 || memcmp(a->id, b->id, a->count * sizeof *a->id) == 0);
}

static bool same_prompt(const adamoe_prompt *a, const adamoe_prompt *b)
{
    bool same = same_tokens(&a->shared, &b->shared) && a->choices == b->choices;
    for (size_t c = 0; c < a->choices && same; ++c) {
        same = same_tokens(&a->choice[c].continuation, &b->choice[c].continuation) &&
               same_tokens(&a->choice[c].alone, &b->choice[c].alone);
    }
    return same;
}

/* FLOPs and time are compared for the same tokens in the same layers, or not at all. */
static adamoe_status check_comparable(const adamoe_side_by_side *sides)
{
    const adamoe_evaluation *a = &sides->vanilla.evaluation, *b = &sides->adaptive.evaluation;
    const adamoe_config *x = config_of(&sides->vanilla), *y = config_of(&sides->adaptive);
    if (x->layers != y->layers || x->hidden_size != y->hidden_size ||
        x->intermediate_size != y->intermediate_size || x->experts != y->experts ||
        x->vocab_size != y->vocab_size) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--baseline: %.200s: another architecture than that of %.200s",
                            a->options.model, b->options.model);
    }
    for (size_t q = 0; q < a->count; ++q) {
        if (!same_prompt(&a->prompt[q], &b->prompt[q])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--baseline: %.200s: another tokenizer than that of %.200s",
                                a->options.model, b->options.model);
        }
    }
    return adamoe_ok();
}

void adamoe_side_by_side_count(const adamoe_side_options *o, adamoe_side_by_side *out)
{
    out->processes = o->processes == 0 ? ADAMOE_SIDE_PROCESSES : o->processes;
    out->rounds = o->rounds == 0 ? ADAMOE_SIDE_ROUNDS : o->rounds;
}

adamoe_status adamoe_side_by_side_open(const adamoe_side_options *o, const adamoe_machine *machine,
                                       const adamoe_kernel *kernel, adamoe_side_by_side *out)
{
    out->untouched.name = "untouched";
    out->vanilla.name = "top-2";
    out->adaptive.name = "AdaMoE";
    out->has_untouched = o->untouched != NULL;
    adamoe_side_by_side_count(o, out);
    ADAMOE_TRY(open_vanilla(o, machine, kernel, &out->vanilla));
    ADAMOE_TRY(open_adaptive(o, config_of(&out->vanilla)->rule.top_k, machine, kernel, &out->adaptive));
    ADAMOE_TRY(check_comparable(out));
    out->vanilla.evaluation.options.stages = out->vanilla.evaluation.forward != NULL;
    out->adaptive.evaluation.options.stages = out->adaptive.evaluation.forward != NULL;
    if (out->has_untouched) {
        const adamoe_evaluate_options options = quiet_options(o, o->untouched);
        return adamoe_evaluation_open(&options, kernel, machine, &out->untouched.evaluation);
    }
    return adamoe_ok();
}

/* Leaves none of them, so that they can be opened again. */
void adamoe_side_by_side_free(adamoe_side_by_side *sides)
{
    adamoe_side *const all[] = {&sides->untouched, &sides->vanilla, &sides->adaptive};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        adamoe_evaluation_free(&all[i]->evaluation);
        all[i]->evaluation = (adamoe_evaluation){0};
    }
}

/* ------------------------------------------------------------------------------------------------ running */

/* Both have the same prompts, and so the same batches. In turn, so that a disturbance meets both;
 * the order changes with every batch, so that neither is always the one that finds the caches as
 * the other left them. */
static adamoe_status run_round(adamoe_side_by_side *sides, size_t round)
{
    adamoe_evaluation *const turn[2] = {&sides->vanilla.evaluation, &sides->adaptive.evaluation};
    ADAMOE_TRY(adamoe_evaluation_begin(turn[0]));
    ADAMOE_TRY(adamoe_evaluation_begin(turn[1]));
    bool done = false;
    for (size_t batch = round; !done; ++batch) {
        ADAMOE_TRY(adamoe_evaluation_next(turn[batch % 2], &done));
        ADAMOE_TRY(adamoe_evaluation_next(turn[1 - batch % 2], &done));
    }
    return adamoe_ok();
}

/* The shares of the stages in all rounds, of the median round. */
static void take_stages(adamoe_side *side, size_t times)
{
    double all = 0.0, told = 0.0;
    for (size_t i = 0; i < times; ++i) {
        all += side->seconds[i];
    }
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        told += side->stage_seconds[i];
        side->stage_seconds[i] *= side->result.seconds / all;
    }
    side->result.stage_seconds = told > 0.0 ? side->stage_seconds : NULL;
}

static void take_result(adamoe_side *side, size_t times)
{
    double sorted[ADAMOE_SIDE_MOST_TIMES];
    memcpy(sorted, side->seconds, times * sizeof *sorted);
    adamoe_sort(sorted, times);
    side->result = adamoe_evaluation_result(&side->evaluation);
    side->result.seconds = adamoe_median(sorted, times);
    take_stages(side, times);
}

static void mark_right(const adamoe_evaluation *e, bool by_norm, bool *right)
{
    for (size_t q = 0; q < e->count; ++q) {
        right[q] = (by_norm ? e->outcome[q].prediction_norm : e->outcome[q].prediction) ==
                   e->questions->question[q].gold;
    }
}

static adamoe_status judge_answers(const adamoe_side_by_side *sides, bool by_norm, uint64_t seed,
                                   adamoe_paired_answers *out)
{
    const size_t count = sides->vanilla.evaluation.count;
    bool *right = calloc(2 * count, sizeof *right);
    if (right == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "paired answers: out of memory");
    }
    mark_right(&sides->vanilla.evaluation, by_norm, right);
    mark_right(&sides->adaptive.evaluation, by_norm, right + count);
    const adamoe_status status = adamoe_pair_answers(right, right + count, count, seed, out);
    free(right);
    return status;
}

static void print_stages(const adamoe_evaluation *e)
{
    printf("stages");
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        printf(" %.9g", e->clock.seconds[i]);
    }
    printf("\n");
}

/* The first round meets cold pages and code not yet compiled. */
adamoe_status adamoe_side_by_side_time(adamoe_side_by_side *sides)
{
    ADAMOE_TRY(run_round(sides, 0));
    for (size_t i = 0; i < sides->rounds; ++i) {
        ADAMOE_TRY(run_round(sides, i));
        printf("seconds %.9g %.9g\n", sides->vanilla.evaluation.seconds, sides->adaptive.evaluation.seconds);
        print_stages(&sides->vanilla.evaluation);
        print_stages(&sides->adaptive.evaluation);
    }
    return adamoe_ok();
}

adamoe_status adamoe_side_by_side_time_here(adamoe_side_by_side *sides)
{
    adamoe_shared_load load;
    adamoe_load_mark before, after;
    sides->rounds = 1;
    ADAMOE_TRY(run_round(sides, 0));
    adamoe_shared_load_begin(&load);
    for (size_t i = 0; i < sides->processes; ++i) {
        ADAMOE_TRY(run_round(sides, i));
        sides->vanilla.seconds[i] = sides->vanilla.evaluation.seconds;
        sides->adaptive.seconds[i] = sides->adaptive.evaluation.seconds;
        for (size_t j = 0; j < ADAMOE_FORWARD_STAGES; ++j) {
            sides->vanilla.stage_seconds[j] += sides->vanilla.evaluation.clock.seconds[j];
            sides->adaptive.stage_seconds[j] += sides->adaptive.evaluation.clock.seconds[j];
        }
    }
    ADAMOE_TRY(adamoe_shared_load_end(sides->adaptive.evaluation.options.world, &load, &before));
    adamoe_mark_load(&after);
    sides->time.disturbance = adamoe_disturbance_between(&before, &after);
    return adamoe_side_by_side_judge_time(sides);
}

double adamoe_side_by_side_bytes_reduction(const adamoe_side_by_side *sides)
{
    const adamoe_traffic_report *vanilla = sides->vanilla.result.traffic,
                                *adaptive = sides->adaptive.result.traffic;
    if (vanilla == NULL || adaptive == NULL || adamoe_traffic_sum(vanilla).bytes == 0) {
        return (double)NAN;
    }
    return 1.0 - (double)adamoe_traffic_sum(adaptive).bytes / (double)adamoe_traffic_sum(vanilla).bytes;
}

adamoe_status adamoe_side_by_side_run(adamoe_side_by_side *sides, uint64_t seed)
{
    ADAMOE_TRY(run_round(sides, 0));
    take_result(&sides->vanilla, sides->processes * sides->rounds);
    take_result(&sides->adaptive, sides->processes * sides->rounds);
    if (sides->has_untouched) {
        ADAMOE_TRY(adamoe_evaluation_run(&sides->untouched.evaluation));
        sides->untouched.result = adamoe_evaluation_result(&sides->untouched.evaluation);
    }
    ADAMOE_TRY(judge_answers(sides, false, seed, &sides->accuracy));
    return judge_answers(sides, true, seed, &sides->accuracy_norm);
}

/*
 * The two sides as a table, as JSON, and as one sentence on what can be told from zero.
 */
#include "program/json_output.h"
#include "program/paper.h"
#include "reproduce/sides/side_by_side.h"

#include <math.h>
#include <stdio.h>

#define COLUMNS "  %-16s %-14s %-14s   %6s %8s %8s %8s %20s\n"

static adamoe_eval_cost cost_of(const adamoe_side *side)
{
    return adamoe_eval_cost_of(&side->result);
}

/* A reduction of the time over that of the model's FLOPs, which is a count; NaN where no FLOPs are saved. */
static double per_flops(const adamoe_side_by_side *sides, double time_reduction)
{
    const double flops = cost_of(&sides->adaptive).model_reduction;
    return flops > 0.0 ? time_reduction / flops : (double)NAN;
}

/* --------------------------------------------------------------------------------------------- conclusion */

static const char *verdict(double p)
{
    return p < ADAMOE_SIDE_LEVEL ? "is distinguishable from zero" : "is not distinguishable from zero";
}

/* What is said of the time: nothing is claimed of one that was measured while something else went on, nor of one start of
 * ranks, since starts differ by more than rounds. */
static void describe_time(const adamoe_side_by_side *sides, char *text, size_t size)
{
    const adamoe_time_reduction *t = &sides->time;
    const bool over_ranks = sides->adaptive.result.traffic != NULL;
    const int used = snprintf(
        text, size,
        "the measured time reduction of %.1f %% (95 %% interval %.1f to %.1f, t-test p = %.2g over %zu "
        "%s of %zu round%s) ",
        100.0 * t->centre, 100.0 * t->interval.low, 100.0 * t->interval.high, t->p, sides->processes,
        over_ranks ? "turns" : "processes", sides->rounds, sides->rounds == 1 ? "" : "s");
    (void)(t->disturbance.disturbed
               ? snprintf(text + used, size - (size_t)used, "is no claim, for the machine was disturbed: %s",
                          adamoe_describe_disturbance(&t->disturbance).text)
               : snprintf(text + used, size - (size_t)used, "%s",
                          over_ranks ? "is no claim, for the ranks were started once" : verdict(t->p)));
}

adamoe_conclusion adamoe_side_by_side_conclusion(const adamoe_side_by_side *sides)
{
    const adamoe_paired_answers *a = &sides->accuracy, *norm = &sides->accuracy_norm;
    adamoe_conclusion out;
    char time[640];
    (void)describe_time(sides, time, sizeof time);
    (void)snprintf(
        out.text, sizeof out.text,
        "AdaMoE answers %zu of %zu questions right that %s misses, and misses %zu that it answers: the "
        "difference of %+.2f points (95 %% interval %+.2f to %+.2f, exact McNemar p = %.3g) %s, that of "
        "acc_norm, "
        "%+.2f (%+.2f to %+.2f, p = %.3g), %s; it executes %.1f %% fewer FLOPs of the whole model, and %s.",
        a->won, a->questions, sides->vanilla.name, a->lost, 100.0 * a->difference, 100.0 * a->interval.low,
        100.0 * a->interval.high, a->p, verdict(a->p), 100.0 * norm->difference, 100.0 * norm->interval.low,
        100.0 * norm->interval.high, norm->p, verdict(norm->p),
        100.0 * cost_of(&sides->adaptive).model_reduction, time);
    return out;
}

/* -------------------------------------------------------------------------------------------------- table */

static void print_side(const adamoe_side *side, const char *time)
{
    const adamoe_eval_result *r = &side->result;
    const adamoe_eval_cost cost = cost_of(side);
    printf("  %-16s %6.2f (%s) %6.2f (%s)   %6.4f %8.2f %8.2f %8.2f %20s\n", side->name,
           100.0 * r->accuracy.mean, adamoe_standard_error_text(&r->accuracy).text,
           100.0 * r->accuracy_norm.mean, adamoe_standard_error_text(&r->accuracy_norm).text, cost.load,
           100.0 * adamoe_all_null_share(r), 100.0 * cost.expert_reduction, 100.0 * cost.model_reduction,
           time);
}

/* The standard error is ours: the paper gives none. */
static void print_paper_row(const char *name, double accuracy, double load, double reduction,
                            const char *time)
{
    const size_t n = ADAMOE_PAPER_ARC->questions;
    const adamoe_accuracy a = adamoe_accuracy_of((size_t)lround(accuracy * (double)n), n);
    printf("  %-16s %6.2f (%s) %6s %6s   %6.4f %8s %8.2f %8.2f %20s\n", name, 100.0 * accuracy,
           adamoe_standard_error_text(&a).text, "", "", load, "", 100.0 * (1.0 - load / 2.0),
           100.0 * reduction, time);
}

static void print_paper(void)
{
    const adamoe_paper_row *row = ADAMOE_PAPER_ARC;
    print_paper_row("paper, untouched", row->untouched_accuracy, 2.0, 0.0, "");
    print_paper_row("paper, top-2", row->top_2_accuracy, 2.0, 0.0, "");
    print_paper_row("paper, AdaMoE", row->adamoe_accuracy, row->load, row->model_flops_reduction,
                    "not given");
}

static void print_load(const adamoe_side *side)
{
    const adamoe_eval_result *r = &side->result;
    printf("  load by layer, %-10s", side->name);
    for (size_t layer = 0; layer < r->counts->layers; ++layer) {
        printf(" %.3f", (double)r->counts->expert_rows[layer] / (double)r->work.tokens);
    }
    printf("\n");
}

static void print_difference(const char *measure, const adamoe_paired_answers *a)
{
    printf("  %-9s %+6.2f points, 95 %% interval %+.2f to %+.2f (paired bootstrap); %zu lost, %zu won, exact "
           "McNemar p = %.3g\n",
           measure, 100.0 * a->difference, 100.0 * a->interval.low, 100.0 * a->interval.high, a->lost, a->won,
           a->p);
}

static void print_rows(const adamoe_side_by_side *sides)
{
    const adamoe_time_reduction *t = &sides->time;
    char measured[64];
    (void)snprintf(measured, sizeof measured, "%.1f (%.1f..%.1f)", 100.0 * t->centre, 100.0 * t->interval.low,
                   100.0 * t->interval.high);
    printf(COLUMNS, "", "acc (s.e.)", "acc_norm", "load", "all-null", "expert", "model", "time");
    printf(COLUMNS, "", "", "", "", "tokens", "FLOPs -", "FLOPs -", "- (95 % interval)");
    if (sides->has_untouched) {
        print_side(&sides->untouched, "");
    }
    print_side(&sides->vanilla, "0");
    print_side(&sides->adaptive, measured);
    print_paper();
}

/* A line of the stages: both times in percent of top-2's, and what AdaMoE saves in that stage. */
static void print_stage(const char *name, double vanilla, double adaptive, double unit)
{
    printf("  %-16s %8.1f %8.1f %8.1f\n", name, 100.0 * vanilla / unit, 100.0 * adaptive / unit,
           100.0 * (vanilla - adaptive) / unit);
}

static void print_stages(const adamoe_side_by_side *sides)
{
    const adamoe_eval_result *v = &sides->vanilla.result, *a = &sides->adaptive.result;
    if (v->stage_seconds == NULL || a->stage_seconds == NULL) {
        return;
    }
    printf("  stages, percent of %s's time\n  %-16s %8s %8s %8s\n", sides->vanilla.name, "",
           sides->vanilla.name, sides->adaptive.name, "saved");
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        if (v->stage_seconds[i] > 0.0 || a->stage_seconds[i] > 0.0) {
            print_stage(adamoe_forward_stage_names[i], v->stage_seconds[i], a->stage_seconds[i], v->seconds);
        }
    }
    print_stage("outside", adamoe_outside_stages(v), adamoe_outside_stages(a), v->seconds);
    print_stage("all", v->seconds, a->seconds, v->seconds);
}

void adamoe_side_by_side_print(const adamoe_side_by_side *sides)
{
    const adamoe_eval_result *r = &sides->adaptive.result;
    const double ratio = per_flops(sides, sides->time.centre);
    printf("\n%s against %s on %zu questions of %s, kernel %s, %u threads, timed in turn in ", r->model,
           sides->vanilla.result.model, r->count, r->task, r->kernel, r->threads);
    if (r->traffic == NULL) {
        printf("%zu processes of %zu rounds; percent\n", sides->processes, sides->rounds);
    } else {
        printf("%zu rounds of one run over %u ranks; percent\n", sides->processes, r->traffic->ranks);
    }
    print_rows(sides);
    print_load(&sides->vanilla);
    print_load(&sides->adaptive);
    print_difference("acc", &sides->accuracy);
    print_difference("acc_norm", &sides->accuracy_norm);
    if (!isnan(adamoe_side_by_side_bytes_reduction(sides))) {
        printf("  bytes between ranks: %s %.3f MB, %s %.3f MB, bytes reduction %.2f %%\n",
               sides->vanilla.name, 1e-6 * (double)adamoe_traffic_sum(sides->vanilla.result.traffic).bytes,
               sides->adaptive.name, 1e-6 * (double)adamoe_traffic_sum(r->traffic).bytes,
               100.0 * adamoe_side_by_side_bytes_reduction(sides));
    }
    if (!isnan(ratio)) {
        printf("  time reduction / model FLOPs reduction %.2f (%.2f..%.2f)%s\n", ratio,
               per_flops(sides, sides->time.interval.low), per_flops(sides, sides->time.interval.high),
               sides->time.disturbance.disturbed ? ", while the machine was disturbed" : "");
    }
    if (r->traffic != NULL) {
        printf("  time: a round deviates by %.1f %%; of starts of the ranks there was one\n",
               100.0 * sides->time.between);
    } else if (isnan(sides->time.within)) {
        printf(
            "  time: processes deviate by %.1f %% from each other; one round in each does not say how much of it is "
            "the rounds'\n",
            100.0 * sides->time.between);
    } else {
        printf(
            "  time: a round deviates by %.1f %% within its process, processes by %.1f %% from each other\n",
            100.0 * sides->time.within, 100.0 * sides->time.between);
    }
    print_stages(sides);
    if (r->weights_are_random) {
        printf("\nThe weights are random: the accuracy means nothing, it is chance.\n");
    }
    printf("\n%s\n", adamoe_side_by_side_conclusion(sides).text);
    printf("The paper: Mixtral-8x7B fine-tuned, ARC-C, %zu questions; its difference is five of them\n"
           "(`adamoe reproduce --claim'); its %%FLOPs is the whole model's; it measures no time.\n",
           ADAMOE_PAPER_ARC->questions);
}

/* --------------------------------------------------------------------------------------------------- JSON */

static json_t *answers_json(const adamoe_paired_answers *a)
{
    return json_pack("{s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:b}", "questions", (json_int_t)a->questions, "lost",
                     (json_int_t)a->lost, "won", (json_int_t)a->won, "difference", a->difference, "low",
                     a->interval.low, "high", a->interval.high, "mcnemar_p", a->p, "distinguishable",
                     (int)(a->p < ADAMOE_SIDE_LEVEL));
}

static json_t *seconds_json(const adamoe_side *side, size_t rounds)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rounds; ++i) {
        json_array_append_new(list, adamoe_json_number(side->seconds[i]));
    }
    return list;
}

static json_t *time_json(const adamoe_side_by_side *sides)
{
    const adamoe_time_reduction *t = &sides->time;
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:b,s:b,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "median",
                     t->median, "least", t->least, "greatest", t->greatest, "centre", t->centre, "low",
                     t->interval.low, "high", t->interval.high, "t_test_p", t->p, "distinguishable",
                     (int)(!t->disturbance.disturbed && t->p < ADAMOE_SIDE_LEVEL), "disturbed",
                     (int)t->disturbance.disturbed, "processes", (json_int_t)sides->processes, "rounds",
                     (json_int_t)sides->rounds, "deviation_within", adamoe_json_number(t->within),
                     "deviation_between", adamoe_json_number(t->between), "per_model_flops_reduction",
                     adamoe_json_number(per_flops(sides, t->centre)), "per_model_flops_reduction_low",
                     adamoe_json_number(per_flops(sides, t->interval.low)), "per_model_flops_reduction_high",
                     adamoe_json_number(per_flops(sides, t->interval.high)), "vanilla_seconds",
                     seconds_json(&sides->vanilla, sides->processes * sides->rounds), "adamoe_seconds",
                     seconds_json(&sides->adaptive, sides->processes * sides->rounds));
}

static json_t *paper_json(void)
{
    const adamoe_paper_row *row = ADAMOE_PAPER_ARC;
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:I}", "untouched_accuracy", row->untouched_accuracy,
                     "top_2_accuracy", row->top_2_accuracy, "adamoe_accuracy", row->adamoe_accuracy, "load",
                     row->load, "model_flops_reduction", row->model_flops_reduction, "questions",
                     (json_int_t)row->questions);
}

json_t *adamoe_side_by_side_json(const adamoe_side_by_side *sides)
{
    json_t *all = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:o}", "vanilla", adamoe_eval_json(&sides->vanilla.result), "adamoe",
        adamoe_eval_json(&sides->adaptive.result), "acc_difference", answers_json(&sides->accuracy),
        "acc_norm_difference", answers_json(&sides->accuracy_norm), "time_reduction", time_json(sides),
        "weights_are_random", (int)sides->adaptive.result.weights_are_random, "paper", paper_json(),
        "conclusion", adamoe_json_text(adamoe_side_by_side_conclusion(sides).text));
    if (all != NULL && sides->adaptive.result.traffic != NULL) {
        (void)json_object_set_new(json_object_get(all, "time_reduction"), "started_anew", json_false());
        (void)json_object_set_new(all, "bytes_reduction",
                                  adamoe_json_number(adamoe_side_by_side_bytes_reduction(sides)));
    }
    if (all != NULL && sides->has_untouched) {
        (void)json_object_set_new(all, "untouched", adamoe_eval_json(&sides->untouched.result));
    }
    return all;
}

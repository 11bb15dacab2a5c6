/*
 * The tables of a study, ours beside the paper's: Markdown that also reads well on a terminal, and JSON.
 */
#include "program/json_output.h"
#include "files/output_file.h"
#include "reproduce/study/study.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A number in percent or plain, or a dash. */
typedef struct cell {
    char text[48];
} cell;

static cell percent(double value, const char *format)
{
    cell out = {"-"};
    if (isfinite(value)) {
        (void)snprintf(out.text, sizeof out.text, format, 100.0 * value);
    }
    return out;
}

/* What the paper did not measure is 0 in the plan. */
static cell paper(const adamoe_paper_score *score)
{
    cell out = {"-"};
    if (score->accuracy > 0.0) {
        (void)snprintf(out.text, sizeof out.text, "%.2f / %.2f", 100.0 * score->accuracy, score->load);
    }
    return out;
}

static cell accuracy(const adamoe_study_row *row)
{
    cell out;
    if (row->seeds < 2) {
        return percent(row->mean.accuracy, "%.2f");
    }
    (void)snprintf(out.text, sizeof out.text, "%.2f ± %.2f", 100.0 * row->mean.accuracy,
                   100.0 * row->deviation);
    return out;
}

static cell difference(const adamoe_study_row *row, const adamoe_mean *m, bool is_baseline)
{
    cell out = {"-"};
    if (is_baseline || row->pairs == 0) {
        return out;
    }
    if (row->pairs == 1) {
        return percent(m->mean, "%+.2f");
    }
    (void)snprintf(out.text, sizeof out.text, "%+.2f (%+.2f..%+.2f)", 100.0 * m->mean,
                   100.0 * m->interval.low, 100.0 * m->interval.high);
    return out;
}

static cell before(const adamoe_study_row *row)
{
    cell out = {"-"};
    if (row->has_converted) {
        (void)snprintf(out.text, sizeof out.text, "%.2f / %.3f", 100.0 * row->converted.accuracy,
                       row->converted.load);
    }
    return out;
}

/* ------------------------------------------------------------------------------------------------- tables */

static void write_head(const adamoe_study_state *study, const adamoe_study_scores *scores, FILE *file)
{
    char *recipe = json_dumps(study->recipe.document, JSON_INDENT(2));
    fprintf(file, "# Top-2 against null experts\n\n");
    fprintf(
        file,
        "Every model was fine-tuned from %s, which answers %.2f %% of the %zu test questions; in percent; "
        "± is the standard deviation over seeds, in brackets stands the 95 %% t-interval of the paired "
        "difference over seeds. One seed has no interval. The paper fine-tuned Mixtral-8x7B.\n\n",
        study->start, 100.0 * scores->start.accuracy, scores->questions);
    fprintf(file, "Recipe (%s):\n\n```json\n%s\n```\n", study->recipe.path, recipe == NULL ? "" : recipe);
    free(recipe);
}

/* Outside the range the model that fine-tuning starts from is not the pretrained one any more. */
static const char *mark(const adamoe_study_setting *s, size_t experts)
{
    return s->null_experts > 0 && !adamoe_study_keeps_top_k(s, experts) ? " *" : "";
}

static void write_row(const adamoe_study_state *study, const adamoe_study_scores *scores, size_t setting,
                      FILE *file)
{
    const adamoe_study_setting *s = &adamoe_study_plan[setting];
    const adamoe_study_row *row = &scores->row[setting];
    const adamoe_study_score *mean = &row->mean;
    fprintf(file, "| %s%s | %zu | %s | %s | %.2f | %s | %.3f | %.2f | %.2f | %.2f | %s | %s | %s |\n",
            s->name, mark(s, study->experts), row->seeds, accuracy(row).text,
            difference(row, &row->accuracy, setting == 0).text, 100.0 * mean->accuracy_norm,
            difference(row, &row->accuracy_norm, setting == 0).text, mean->load, 100.0 * mean->all_null_share,
            100.0 * mean->expert_reduction, 100.0 * mean->model_reduction, before(row).text,
            paper(&s->siqa).text, paper(&s->arc).text);
}

static void write_table(const adamoe_study_state *study, const adamoe_study_scores *scores,
                        adamoe_study_table table, FILE *file)
{
    fprintf(
        file,
        "\n| setting | seeds | acc | less top-2 | acc_norm | less top-2 | load | all-null tokens | expert "
        "FLOPs - | model FLOPs - | converted, before training: acc / load | paper, SIQA: acc / load | "
        "paper, ARC-C: acc / load |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < ADAMOE_STUDY_SETTINGS; ++i) {
        if (scores->row[i].seeds > 0 && (adamoe_study_plan[i].table == table || i < 2)) {
            write_row(study, scores, i, file);
        }
    }
}

static void write_sizes(const adamoe_study_state *study, const adamoe_study_scores *scores, FILE *file)
{
    fprintf(file, "\n## Null experts and top-k (the paper's Table 8)\n");
    write_table(study, scores, ADAMOE_STUDY_SIZES, file);
    fprintf(
        file,
        "\n\\* Null experts begin as copies of the gate's rows, so that each true expert ties with m/n null "
        "ones. With lowest-index-first selection the converted model is the pretrained top-%d one exactly "
        "if k is within (k0-1)(m/n+1)+1 .. k0(m/n+1); these settings lie outside: below it, fine-tuning "
        "starts from a model that has lost experts. The paper's collapsed settings (32,4), (32,5) and "
        "(40,6) are the three below.\n",
        ADAMOE_STUDY_BASELINE_K);
}

static void write_pairs(const adamoe_study_scores *scores, FILE *file)
{
    fprintf(file,
            "\n## The main pair, seed by seed\n\n| seed | less top-2 | lost | won | exact McNemar p | time "
            "reduction (95 %% interval) | time / model FLOPs reduction |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < scores->pairs; ++i) {
        const json_t *a = json_object_get(scores->pair[i], "acc_difference");
        const json_t *t = json_object_get(scores->pair[i], "time_reduction");
        fprintf(file, "| %zu | %+.2f | %lld | %lld | %.3g | %.2f (%.2f..%.2f) | %.2f |\n", i + 1,
                100.0 * json_number_value(json_object_get(a, "difference")),
                (long long)json_integer_value(json_object_get(a, "lost")),
                (long long)json_integer_value(json_object_get(a, "won")),
                json_number_value(json_object_get(a, "mcnemar_p")), 100.0 * scores->time[i],
                100.0 * json_number_value(json_object_get(t, "low")),
                100.0 * json_number_value(json_object_get(t, "high")),
                scores->time[i] / scores->row[1].score[i].model_reduction);
    }
}

/* --------------------------------------------------------------------------------------------- conclusion */

typedef struct conclusion {
    char text[768];
} conclusion;

static const char *verdict(const adamoe_mean *m)
{
    return m->p < 0.05 ? "is distinguishable from zero" : "is not distinguishable from zero";
}

static conclusion conclude_one_seed(const adamoe_study_scores *scores)
{
    const adamoe_study_row *row = &scores->row[1];
    conclusion out;
    (void)snprintf(
        out.text, sizeof out.text,
        "With one seed AdaMoE (m = 8, k = 3) scores %+.2f points against top-2 (acc_norm %+.2f) at a load "
        "of %.3f, which one seed cannot tell from zero; it executes %.2f %% fewer FLOPs of the whole "
        "model and takes %.2f %% less time.",
        100.0 * row->accuracy.mean, 100.0 * row->accuracy_norm.mean, row->mean.load,
        100.0 * row->mean.model_reduction, 100.0 * scores->time_reduction.mean);
    return out;
}

static conclusion conclude(const adamoe_study_scores *scores)
{
    const adamoe_study_row *row = &scores->row[1];
    const adamoe_mean *a = &row->accuracy, *norm = &row->accuracy_norm, *t = &scores->time_reduction;
    conclusion out;
    if (row->pairs < 2) {
        return conclude_one_seed(scores);
    }
    (void)snprintf(
        out.text, sizeof out.text,
        "Over %zu seeds AdaMoE (m = 8, k = 3) scores %+.2f points against top-2 (95 %% t-interval %+.2f to "
        "%+.2f, p = %.2g) at a load of %.3f, which %s, by acc_norm %+.2f (%+.2f to %+.2f, p = %.2g), "
        "which %s; it executes %.2f %% fewer FLOPs of the whole model, and the measured time "
        "reduction of %.2f %% (%.2f to %.2f over seeds), %.2f of that, %s.",
        row->pairs, 100.0 * a->mean, 100.0 * a->interval.low, 100.0 * a->interval.high, a->p, row->mean.load,
        verdict(a), 100.0 * norm->mean, 100.0 * norm->interval.low, 100.0 * norm->interval.high, norm->p,
        verdict(norm), 100.0 * row->mean.model_reduction, 100.0 * t->mean, 100.0 * t->interval.low,
        100.0 * t->interval.high, t->mean / row->mean.model_reduction, verdict(t));
    return out;
}

static void write_markdown(const adamoe_study_state *study, const adamoe_study_scores *scores, FILE *file)
{
    write_head(study, scores, file);
    fprintf(file, "\n**%s**\n", conclude(scores).text);
    write_sizes(study, scores, file);
    if (study->options->sweep_seeds > 0) {
        fprintf(file, "\n## Normalisation (the paper's Table 4)\n");
        write_table(study, scores, ADAMOE_STUDY_NORMS, file);
        fprintf(file, "\nThe paper, SIQA: over all selected 80.19, over the true ones 81.27.\n"
                      "\n## Balance loss (the paper's Table 3)\n");
        write_table(study, scores, ADAMOE_STUDY_BALANCES, file);
        fprintf(file,
                "\nThe paper, LoRA experts on LLaMA2-7B, switch to null_averaged: RTE 56.68 to 67.51, CoLA "
                "83.68 to 85.01, ScienceQA 65.65 to 66.64, OBQA 69.80 to 71.40. Without padding its "
                "released code computes what switch does.\n");
    }
    write_pairs(scores, file);
}

/* --------------------------------------------------------------------------------------------------- JSON */

static json_t *score_json(const adamoe_study_score *s)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "acc", s->accuracy, "acc_norm", s->accuracy_norm, "load",
                     s->load, "all_null_share", s->all_null_share, "expert_flops_reduction",
                     s->expert_reduction, "model_flops_reduction", s->model_reduction);
}

/* One value has neither interval nor p. */
static json_t *mean_json(const adamoe_mean *m)
{
    return json_pack("{s:o,s:o,s:o,s:o}", "mean", adamoe_json_number(m->mean), "low",
                     adamoe_json_number(m->interval.low), "high", adamoe_json_number(m->interval.high), "p",
                     isnan(m->deviation) ? json_null() : adamoe_json_number(m->p));
}

static json_t *paper_json(const adamoe_paper_score *score)
{
    return score->accuracy > 0.0 ? json_pack("{s:f,s:f}", "acc", score->accuracy, "load", score->load)
                                 : json_null();
}

static json_t *row_json(const adamoe_study_state *study, size_t setting, const adamoe_study_row *row)
{
    const adamoe_study_setting *s = &adamoe_study_plan[setting];
    const bool has_difference = setting > 0 && row->pairs > 0;
    json_t *seeds = json_array();
    for (size_t i = 0; i < row->seeds; ++i) {
        (void)json_array_append_new(seeds, score_json(&row->score[i]));
    }
    return json_pack("{s:s,s:I,s:I,s:s,s:s,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", s->name,
                     "null_experts", (json_int_t)s->null_experts, "top_k", (json_int_t)s->top_k, "norm",
                     s->norm, "balance_loss", s->balance, "keeps_top_k",
                     (int)adamoe_study_keeps_top_k(s, study->experts), "seeds", seeds, "mean",
                     score_json(&row->mean), "deviation", adamoe_json_number(row->deviation),
                     "acc_difference", has_difference ? mean_json(&row->accuracy) : json_null(),
                     "acc_norm_difference", has_difference ? mean_json(&row->accuracy_norm) : json_null(),
                     "converted", row->has_converted ? score_json(&row->converted) : json_null(),
                     "paper_siqa", paper_json(&s->siqa), "paper_arc", paper_json(&s->arc));
}

static json_t *study_json(const adamoe_study_state *study, const adamoe_study_scores *scores)
{
    json_t *rows = json_array(), *pairs = json_array();
    for (size_t i = 0; i < ADAMOE_STUDY_SETTINGS; ++i) {
        if (scores->row[i].seeds > 0) {
            (void)json_array_append_new(rows, row_json(study, i, &scores->row[i]));
        }
    }
    for (size_t i = 0; i < scores->pairs; ++i) {
        (void)json_array_append(pairs, scores->pair[i]);
    }
    return json_pack("{s:s,s:O,s:I,s:o,s:o,s:o,s:o,s:s}", "version", ADAMOE_VERSION, "study",
                     study->description, "questions", (json_int_t)scores->questions, "start",
                     score_json(&scores->start), "settings", rows, "time_reduction",
                     mean_json(&scores->time_reduction), "pairs", pairs, "conclusion", conclude(scores).text);
}

adamoe_status adamoe_study_report(const adamoe_study_state *study, const adamoe_study_scores *scores)
{
    adamoe_output_file *file = NULL;
    write_markdown(study, scores, stdout);
    ADAMOE_TRY(adamoe_json_write(adamoe_study_at(study, "results.json").text, study_json(study, scores)));
    ADAMOE_TRY(adamoe_output_file_open(adamoe_study_at(study, "results.md").text, &file));
    write_markdown(study, scores, adamoe_output_file_stream(file));
    return adamoe_output_file_commit(file);
}

/*
 * The tables of a study, ours beside the paper's: Markdown that also reads well on a terminal, and JSON.
 */
#include "json_output.h"
#include "output_file.h"
#include "study.h"

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

static cell difference(const adamoe_study_row *row, bool is_baseline)
{
    cell out = {"-"};
    if (is_baseline || row->pairs == 0) {
        return out;
    }
    if (row->pairs == 1) {
        return percent(row->difference, "%+.2f");
    }
    (void)snprintf(out.text, sizeof out.text, "%+.2f (%+.2f..%+.2f)", 100.0 * row->difference,
                   100.0 * row->low, 100.0 * row->high);
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

static void write_table(const adamoe_study_state *study, const adamoe_study_scores *scores,
                        adamoe_study_table table, FILE *file)
{
    fprintf(file,
            "\n| setting | seeds | acc | less top-2 | acc_norm | load | all-null tokens | expert FLOPs - | "
            "model FLOPs - | converted, before training: acc / load | paper, SIQA: acc / load | paper, "
            "ARC-C: acc / load |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < ADAMOE_STUDY_SETTINGS; ++i) {
        const adamoe_study_setting *s = &adamoe_study_plan[i];
        const adamoe_study_row *row = &scores->row[i];
        if (row->seeds > 0 && (s->table == table || i < 2)) {
            fprintf(file, "| %s%s | %zu | %s | %s | %.2f | %.3f | %.2f | %.2f | %.2f | %s | %s | %s |\n",
                    s->name, mark(s, study->experts), row->seeds, accuracy(row).text,
                    difference(row, i == 0).text, 100.0 * row->mean.accuracy_norm, row->mean.load,
                    100.0 * row->mean.all_null_share, 100.0 * row->mean.expert_reduction,
                    100.0 * row->mean.model_reduction, before(row).text, paper(&s->siqa).text,
                    paper(&s->arc).text);
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

static conclusion conclude(const adamoe_study_scores *scores)
{
    const adamoe_study_row *row = &scores->row[1];
    conclusion out;
    int length =
        snprintf(out.text, sizeof out.text,
                 "Over %zu seed%s AdaMoE (m = 8, k = 3) scores %+.2f points against top-2 at a load of "
                 "%.3f against 2",
                 row->pairs, row->pairs == 1 ? "" : "s", 100.0 * row->difference, row->mean.load);
    const size_t used = (size_t)length;
    if (row->pairs < 2) {
        (void)snprintf(out.text + used, sizeof out.text - used,
                       ", which one seed cannot tell from zero; it executes %.2f %% fewer FLOPs of the whole "
                       "model and takes %.2f %% less time.",
                       100.0 * row->mean.model_reduction, 100.0 * scores->time_reduction);
        return out;
    }
    const bool time_seen = scores->time_low > 0.0 || scores->time_high < 0.0;
    (void)snprintf(
        out.text + used, sizeof out.text - used,
        " (95 %% t-interval of the difference %+.2f to %+.2f, p = %.2g), which %s distinguishable from "
        "zero; it executes %.2f %% fewer FLOPs of the whole model, and the measured time reduction of "
        "%.2f %% (%.2f to %.2f over seeds), %.2f of that, %s distinguishable from zero.",
        100.0 * row->low, 100.0 * row->high, row->p, row->p < 0.05 ? "is" : "is not",
        100.0 * row->mean.model_reduction, 100.0 * scores->time_reduction, 100.0 * scores->time_low,
        100.0 * scores->time_high, scores->time_reduction / row->mean.model_reduction,
        time_seen ? "is" : "is not");
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

static json_t *paper_json(const adamoe_paper_score *score)
{
    return score->accuracy > 0.0 ? json_pack("{s:f,s:f}", "acc", score->accuracy, "load", score->load)
                                 : json_null();
}

static json_t *row_json(const adamoe_study_state *study, size_t setting, const adamoe_study_row *row)
{
    const adamoe_study_setting *s = &adamoe_study_plan[setting];
    json_t *seeds = json_array();
    for (size_t i = 0; i < row->seeds; ++i) {
        (void)json_array_append_new(seeds, score_json(&row->score[i]));
    }
    json_t *against = json_null();
    if (setting > 0 && row->pairs > 0) {
        against = json_pack("{s:f,s:o,s:o,s:o}", "difference", row->difference, "low",
                            adamoe_json_number(row->low), "high", adamoe_json_number(row->high), "p",
                            row->pairs > 1 ? adamoe_json_number(row->p) : json_null());
    }
    return json_pack("{s:s,s:I,s:I,s:s,s:s,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", s->name, "null_experts",
                     (json_int_t)s->null_experts, "top_k", (json_int_t)s->top_k, "norm", s->norm,
                     "balance_loss", s->balance, "keeps_top_k",
                     (int)adamoe_study_keeps_top_k(s, study->experts), "seeds", seeds, "mean",
                     score_json(&row->mean), "deviation", adamoe_json_number(row->deviation), "against_top_2",
                     against, "converted", row->has_converted ? score_json(&row->converted) : json_null(),
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
    json_t *time =
        json_pack("{s:o,s:o,s:o}", "mean", adamoe_json_number(scores->time_reduction), "low",
                  adamoe_json_number(scores->time_low), "high", adamoe_json_number(scores->time_high));
    return json_pack("{s:s,s:O,s:I,s:o,s:o,s:o,s:o,s:s}", "version", ADAMOE_VERSION, "study",
                     study->description, "questions", (json_int_t)scores->questions, "start",
                     score_json(&scores->start), "settings", rows, "time_reduction", time, "pairs", pairs,
                     "conclusion", conclude(scores).text);
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

/*
 * From scored questions to numbers, in the words of the evaluation harness where it has words for them.
 */
#include "eval_report.h"
#include "json_output.h"
#include "output_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const format_names[] = {"cloze", "letter"};
static const char *const bos_names[] = {"auto", "always", "never"};

void adamoe_predict(const adamoe_prompt *prompt, adamoe_outcome *outcome)
{
    double best = -HUGE_VAL, best_norm = -HUGE_VAL;
    for (size_t c = 0; c < prompt->choices; ++c) {
        const size_t characters = prompt->choice[c].characters;
        const double norm = outcome->logprob[c] / (double)(characters > 0 ? characters : 1);
        if (outcome->logprob[c] > best) {
            best = outcome->logprob[c];
            outcome->prediction = c;
        }
        if (norm > best_norm) {
            best_norm = norm;
            outcome->prediction_norm = c;
        }
    }
}

adamoe_accuracy adamoe_accuracy_of(size_t right, size_t count)
{
    const double n = (double)count, mean = (double)right / n;
    /* Of zeros and ones: the sum of squared deviations is n p (1 - p). */
    return (adamoe_accuracy){mean, count < 2 ? NAN : sqrt(mean * (1.0 - mean) / (n - 1.0))};
}

/* A reduction against fewer experts than the baseline would select makes no sense for a dense model. */
static adamoe_flops baseline_flops(const adamoe_eval_result *r)
{
    const adamoe_work work = adamoe_baseline_work(r->config, &r->work, r->baseline_k);
    return adamoe_count_flops(r->config, 0, &work);
}

static double all_null_share(const adamoe_eval_result *r)
{
    const double pairs = (double)r->work.tokens * (double)r->config->layers;
    return pairs == 0.0 ? 0.0 : (double)r->counts->histogram[0] / pairs;
}

static void print_flops_row(const char *part, uint64_t executed, uint64_t baseline)
{
    printf("  %-10s %14.4f %14.4f\n", part, (double)executed * 1e-9, (double)baseline * 1e-9);
}

static void print_flops(const adamoe_eval_result *r)
{
    const adamoe_flops executed = adamoe_count_flops(r->config, r->config->null_experts, &r->work);
    const adamoe_flops baseline = baseline_flops(r);
    printf("GFLOP              executed   top-%zu baseline\n", r->baseline_k);
    print_flops_row("experts", executed.experts, baseline.experts);
    print_flops_row("router", executed.router, baseline.router);
    print_flops_row("attention", executed.attention, baseline.attention);
    print_flops_row("head", executed.head, baseline.head);
    print_flops_row("total", executed.total, baseline.total);
    printf("expert FLOPs reduction %7.2f %%\nmodel FLOPs reduction  %7.2f %%\n",
           100.0 * adamoe_expert_flops_reduction(adamoe_load(r->config, &r->work), r->baseline_k),
           100.0 * adamoe_model_flops_reduction(&executed, &baseline));
}

static void print_load(const adamoe_eval_result *r)
{
    printf("load  %.4f true experts per token and layer; by layer", adamoe_load(r->config, &r->work));
    for (size_t layer = 0; layer < r->counts->layers; ++layer) {
        printf(" %.3f", (double)r->counts->expert_rows[layer] / (double)r->work.tokens);
    }
    printf("\nshare of (token, layer) by number of true experts");
    for (size_t i = 0; i <= r->counts->top_k; ++i) {
        printf("  %zu: %.2f %%", i,
               100.0 * (double)r->counts->histogram[i] /
                   ((double)r->work.tokens * (double)r->counts->layers));
    }
    printf("\n");
}

void adamoe_eval_print(const adamoe_eval_result *r)
{
    const char *on = r->implementation == NULL ? "" : r->implementation;
    printf("%s on %s, kernel %s%s%s%s, %u thread%s: %zu of %zu questions, %s format\n", r->model, r->task,
           r->kernel, on[0] == '\0' ? "" : " (", on, on[0] == '\0' ? "" : ")", r->threads,
           r->threads == 1 ? "" : "s", r->count, r->total, format_names[r->format]);
    printf("acc       %6.2f %% (standard error %.2f)\nacc_norm  %6.2f %% (standard error %.2f)\n",
           100.0 * r->accuracy.mean, 100.0 * r->accuracy.standard_error, 100.0 * r->accuracy_norm.mean,
           100.0 * r->accuracy_norm.standard_error);
    print_load(r);
    print_flops(r);
    const adamoe_flops executed = adamoe_count_flops(r->config, r->config->null_experts, &r->work);
    const double gflops = (double)executed.total / r->seconds * 1e-9;
    printf("%llu tokens in %.2f s: %.2f questions/s, %.1f tokens/s%s\n", (unsigned long long)r->work.tokens,
           r->seconds, (double)r->count / r->seconds, (double)r->work.tokens / r->seconds,
           r->layer_by_layer ? ", weights prepared layer by layer" : "");
    printf("%.1f executed GFLOP/s", gflops);
    if (r->peak.gflops > 0.0) {
        printf(", %.1f %% of the measured float32 FMA peak of %u threads, %.1f GFLOP/s (%s)",
               100.0 * gflops / r->peak.gflops, r->threads, r->peak.gflops, r->peak.instruction);
    }
    printf("\n");
}

static json_t *flops_json(const adamoe_flops *flops)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "experts", (json_int_t)flops->experts, "router",
                     (json_int_t)flops->router, "attention", (json_int_t)flops->attention, "head",
                     (json_int_t)flops->head, "total", (json_int_t)flops->total);
}

/* counts[size] as fractions of `whole`. */
static json_t *fractions_json(const uint64_t *counts, size_t size, double whole)
{
    json_t *list = json_array();
    for (size_t i = 0; i < size; ++i) {
        json_array_append_new(list, adamoe_json_number(whole == 0.0 ? 0.0 : (double)counts[i] / whole));
    }
    return list;
}

static json_t *selections_json(const adamoe_eval_result *r)
{
    json_t *layers = json_array();
    for (size_t layer = 0; layer < r->counts->layers; ++layer) {
        json_array_append_new(layers, fractions_json(r->counts->selections + layer * r->counts->experts,
                                                     r->counts->experts, (double)r->work.tokens));
    }
    return layers;
}

static json_t *cost_json(const adamoe_eval_result *r)
{
    const adamoe_flops executed = adamoe_count_flops(r->config, r->config->null_experts, &r->work);
    const adamoe_flops baseline = baseline_flops(r);
    const double tokens = (double)r->work.tokens, load = adamoe_load(r->config, &r->work);
    json_t *cost = json_pack(
        "{s:s,s:I,s:f,s:o,s:o,s:f,s:o}", "kernel", r->kernel, "threads", (json_int_t)r->threads, "load", load,
        "load_by_layer", fractions_json(r->counts->expert_rows, r->counts->layers, tokens),
        "true_expert_histogram",
        fractions_json(r->counts->histogram, r->counts->top_k + 1, tokens * (double)r->counts->layers),
        "all_null_share", all_null_share(r), "selections_by_layer", selections_json(r));
    json_t *more = json_pack(
        "{s:o,s:o,s:I,s:f,s:f,s:I,s:f,s:f,s:f,s:b}", "executed_flops", flops_json(&executed),
        "baseline_flops", flops_json(&baseline), "baseline_k", (json_int_t)r->baseline_k,
        "expert_flops_reduction", adamoe_expert_flops_reduction(load, r->baseline_k), "model_flops_reduction",
        adamoe_model_flops_reduction(&executed, &baseline), "tokens_processed", (json_int_t)r->work.tokens,
        "seconds", r->seconds, "questions_per_second", (double)r->count / r->seconds, "tokens_per_second",
        tokens / r->seconds, "layer_by_layer", (int)r->layer_by_layer);
    if (cost == NULL || more == NULL || json_object_update(cost, more) != 0) {
        json_decref(cost);
        cost = NULL;
    }
    json_decref(more);
    if (cost != NULL && r->peak.gflops > 0.0) {
        json_object_set_new(cost, "fma_peak_gflops", json_real(r->peak.gflops));
        json_object_set_new(cost, "fma_peak_share",
                            json_real((double)executed.total / r->seconds * 1e-9 / r->peak.gflops));
    }
    if (cost != NULL && r->implementation != NULL) {
        json_object_set_new(cost, "implementation", json_string(r->implementation));
    }
    return cost;
}

static json_t *config_json(const adamoe_eval_result *r)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:i}", "model", r->model, "questions", r->questions,
                     "format", format_names[r->format], "bos", bos_names[r->bos], "top_k",
                     (json_int_t)r->config->rule.top_k, "null_experts", (json_int_t)r->config->null_experts,
                     "norm", adamoe_norm_names[r->config->rule.norm], "null_kind",
                     adamoe_null_kind_names[r->config->rule.null_kind], "num_fewshot", 0);
}

json_t *adamoe_eval_json(const adamoe_eval_result *r)
{
    json_t *scores =
        json_pack("{s:s,s:o,s:o,s:o,s:o}", "alias", r->task, "acc,none", adamoe_json_number(r->accuracy.mean),
                  "acc_stderr,none", adamoe_json_number(r->accuracy.standard_error), "acc_norm,none",
                  adamoe_json_number(r->accuracy_norm.mean), "acc_norm_stderr,none",
                  adamoe_json_number(r->accuracy_norm.standard_error));
    return json_pack("{s:{s:o},s:{s:{s:I,s:I}},s:o,s:f,s:o}", "results", r->task, scores, "n-samples",
                     r->task, "original", (json_int_t)r->total, "effective", (json_int_t)r->count, "config",
                     config_json(r), "date", (double)time(NULL), "adamoe", cost_json(r));
}

static json_t *sample_json(const adamoe_question *question, const adamoe_outcome *outcome)
{
    json_t *logprob = json_array();
    for (size_t c = 0; c < question->choices; ++c) {
        json_array_append_new(logprob, adamoe_json_number(outcome->logprob[c]));
    }
    return json_pack("{s:s,s:o,s:I,s:I,s:I}", "id", question->id, "logprob", logprob, "prediction",
                     (json_int_t)outcome->prediction, "prediction_norm", (json_int_t)outcome->prediction_norm,
                     "gold", (json_int_t)question->gold);
}

static adamoe_status write_lines(const char *path, FILE *stream, const adamoe_questions *questions,
                                 const adamoe_outcome *outcomes, size_t count)
{
    for (size_t q = 0; q < count; ++q) {
        json_t *line = sample_json(&questions->question[q], &outcomes[q]);
        const bool written =
            line != NULL && json_dumpf(line, stream, JSON_COMPACT) == 0 && fputc('\n', stream) != EOF;
        json_decref(line);
        if (!written) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "%s: write: %s", path, strerror(errno));
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_eval_write_samples(const char *path, const adamoe_questions *questions,
                                        const adamoe_outcome *outcomes, size_t count)
{
    adamoe_output_file *file = NULL;
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    const adamoe_status status =
        write_lines(path, adamoe_output_file_stream(file), questions, outcomes, count);
    if (status.code != ADAMOE_OK) {
        adamoe_output_file_discard(file);
        return status;
    }
    return adamoe_output_file_commit(file);
}

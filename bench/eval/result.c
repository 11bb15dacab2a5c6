/*
 * From scored questions to numbers, in the words of the evaluation harness where it has words for them.
 */
#include "eval/result.h"
#include "program/json_output.h"
#include "files/output_file.h"
#include "router_file.h"
#include "router.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* (token, router) pairs of a layer, and of the model. */
static double layer_pairs(const adamoe_eval_result *r)
{
    return (double)r->work.tokens * (double)r->counts->routers;
}

static double all_pairs(const adamoe_eval_result *r)
{
    return layer_pairs(r) * (double)r->counts->layers;
}

static adamoe_flops without_feed_forward(const adamoe_lora_flops *f)
{
    return (adamoe_flops){f->experts, f->router, f->attention, f->head, f->total};
}

static adamoe_eval_cost adapted_cost(const adamoe_eval_result *r)
{
    adamoe_lora_work work = {.base = r->work};
    memcpy(work.adapted, r->adapted_rows, sizeof work.adapted);
    const adamoe_lora_work baseline = adamoe_lora_baseline_work(r->config, &work, r->baseline_k);
    const adamoe_lora_flops executed =
        adamoe_lora_count_flops(r->config, r->lora, r->lora->null_experts, &work);
    const adamoe_lora_flops base = adamoe_lora_count_flops(r->config, r->lora, 0, &baseline);
    return (adamoe_eval_cost){.load = all_pairs(r) == 0.0 ? 0.0 : (double)r->work.expert_rows / all_pairs(r),
                              .feed_forward = executed.feed_forward,
                              .executed = without_feed_forward(&executed),
                              .baseline = without_feed_forward(&base)};
}

static adamoe_eval_cost routed_cost(const adamoe_eval_result *r)
{
    const adamoe_work work = adamoe_baseline_work(r->config, &r->work, r->baseline_k);
    return (adamoe_eval_cost){.load = adamoe_load(r->config, &r->work),
                              .executed = adamoe_count_flops(r->config, r->config->null_experts, &r->work),
                              .baseline = adamoe_count_flops(r->config, 0, &work)};
}

adamoe_eval_cost adamoe_eval_cost_of(const adamoe_eval_result *r)
{
    adamoe_eval_cost cost = r->lora != NULL ? adapted_cost(r) : routed_cost(r);
    cost.expert_reduction = adamoe_expert_flops_reduction(cost.load, r->baseline_k);
    cost.model_reduction = adamoe_model_flops_reduction(&cost.executed, &cost.baseline);
    return cost;
}

/* How many (token, layer) have so many true experts. */
static uint64_t pairs_with(const adamoe_route_counts *counts, size_t true_experts)
{
    uint64_t sum = 0;
    for (size_t layer = 0; layer < counts->layers; ++layer) {
        sum += counts->histogram[layer * (counts->top_k + 1) + true_experts];
    }
    return sum;
}

double adamoe_all_null_share(const adamoe_eval_result *r)
{
    const double pairs = all_pairs(r);
    return pairs == 0.0 ? 0.0 : (double)pairs_with(r->counts, 0) / pairs;
}

static void print_flops_row(const char *part, uint64_t executed, uint64_t baseline)
{
    printf("  %-10s %14.4f %14.4f\n", part, (double)executed * 1e-9, (double)baseline * 1e-9);
}

static void print_flops(const adamoe_eval_cost *cost, size_t baseline_k)
{
    const adamoe_flops *executed = &cost->executed, *baseline = &cost->baseline;
    printf("GFLOP              executed   top-%zu baseline\n", baseline_k);
    print_flops_row("experts", executed->experts, baseline->experts);
    print_flops_row("router", executed->router, baseline->router);
    print_flops_row("attention", executed->attention, baseline->attention);
    if (cost->feed_forward > 0) {
        print_flops_row("frozen ff", cost->feed_forward, cost->feed_forward);
    }
    print_flops_row("head", executed->head, baseline->head);
    print_flops_row("total", executed->total, baseline->total);
    printf("expert FLOPs reduction %7.2f %%\nmodel FLOPs reduction  %7.2f %%\n",
           100.0 * cost->expert_reduction, 100.0 * cost->model_reduction);
}

static void print_load(const adamoe_eval_result *r, double load)
{
    printf("load  %.4f true experts per token and %s; by layer", load, r->lora == NULL ? "layer" : "map");
    for (size_t layer = 0; layer < r->counts->layers; ++layer) {
        printf(" %.3f", (double)r->counts->expert_rows[layer] / layer_pairs(r));
    }
    for (size_t map = 0; map < ADAMOE_MAPS && r->lora != NULL; ++map) {
        printf("%s%s %.3f", map == 0 ? "\nby map  " : "  ", strrchr(adamoe_map_names[map], '.') + 1,
               (double)r->adapted_rows[map] / ((double)r->work.tokens * (double)r->counts->layers));
    }
    printf("\nshare of (token, layer) by number of true experts");
    for (size_t i = 0; i <= r->counts->top_k; ++i) {
        printf("  %zu: %.2f %%", i, 100.0 * (double)pairs_with(r->counts, i) / all_pairs(r));
    }
    printf("\n");
}

adamoe_error_text adamoe_standard_error_text(const adamoe_accuracy *accuracy)
{
    adamoe_error_text out = {"-"};
    if (!isnan(accuracy->standard_error)) {
        (void)snprintf(out.text, sizeof out.text, "%.2f", 100.0 * accuracy->standard_error);
    }
    return out;
}

static void print_accuracy(const char *name, const adamoe_accuracy *accuracy)
{
    printf("%-9s %6.2f %% (standard error %s)\n", name, 100.0 * accuracy->mean,
           adamoe_standard_error_text(accuracy).text);
}

static void print_router(const adamoe_eval_result *r)
{
    if (r->router == NULL) {
        return;
    }
    printf("router %s:", r->router->router->name);
    for (size_t i = 0; i < r->router->router->parameters; ++i) {
        const adamoe_router_parameter *parameter = &r->router->router->parameter[i];
        const adamoe_router_text value = adamoe_router_value_text(parameter, r->router->value[i]);
        if (value.text[0] != '\0') {
            printf(" %s %s", parameter->name, value.text);
        }
    }
    printf("\n");
    if (!adamoe_router_is_causal(r->router->router, r->router->value)) {
        printf(
            "It is not causal: later tokens of a batch decide what an earlier one gets, so that scores depend on "
            "--batch-tokens.\n");
    }
}

double adamoe_outside_stages(const adamoe_eval_result *r)
{
    double seconds = r->seconds;
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        seconds -= r->stage_seconds[i];
    }
    return seconds;
}

static void print_stages(const adamoe_eval_result *r)
{
    printf("Stages:");
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        printf(" %s %.1f %%,", adamoe_forward_stage_names[i], 100.0 * r->stage_seconds[i] / r->seconds);
    }
    printf(" outside %.1f %%\n", 100.0 * adamoe_outside_stages(r) / r->seconds);
}

void adamoe_eval_print(const adamoe_eval_result *r)
{
    const adamoe_eval_cost cost = adamoe_eval_cost_of(r);
    const char *on = r->implementation == NULL ? "" : r->implementation;
    printf("%s on %s, kernel %s%s%s%s, %u thread%s: %zu of %zu questions, %s format\n", r->model, r->task,
           r->kernel, on[0] == '\0' ? "" : " (", on, on[0] == '\0' ? "" : ")", r->threads,
           r->threads == 1 ? "" : "s", r->count, r->total, adamoe_format_names[r->format]);
    if (r->choice != NULL) {
        adamoe_print_choice(r->choice);
    }
    if (r->dense_product != NULL) {
        printf("The kernel has no dense product: router, attention and head are %s's.\n", r->dense_product);
    }
    print_accuracy("acc", &r->accuracy);
    print_accuracy("acc_norm", &r->accuracy_norm);
    if (r->cut > 0) {
        printf("%zu of %zu questions are longer than the model's context: their beginning was left out.\n",
               r->cut, r->count);
    }
    if (r->resumed > 0) {
        printf("%zu of %zu questions were finished by an earlier run, whose time is in the seconds.\n",
               r->resumed, r->count);
    }
    if (r->weights_are_random) {
        printf("The weights are random: the accuracy is chance.\n");
    }
    print_router(r);
    print_load(r, cost.load);
    print_flops(&cost, r->baseline_k);
    const double gflops = (double)cost.executed.total / r->seconds * 1e-9;
    printf("%llu tokens in %.2f s: %.2f questions/s, %.1f tokens/s%s\n", (unsigned long long)r->work.tokens,
           r->seconds, (double)r->count / r->seconds, (double)r->work.tokens / r->seconds,
           r->layer_by_layer ? ", weights prepared layer by layer" : "");
    if (r->stage_seconds != NULL) {
        print_stages(r);
    }
    if (r->traffic != NULL) {
        adamoe_traffic_print(r->traffic);
    }
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

/* Fractions of all (token, layer). */
static json_t *histogram_json(const adamoe_eval_result *r)
{
    const double pairs = all_pairs(r);
    json_t *list = json_array();
    for (size_t i = 0; i <= r->counts->top_k; ++i) {
        const double count = (double)pairs_with(r->counts, i);
        json_array_append_new(list, adamoe_json_number(pairs == 0.0 ? 0.0 : count / pairs));
    }
    return list;
}

/* Fractions of the tokens, for each layer. */
static json_t *layer_histograms_json(const adamoe_eval_result *r)
{
    const size_t size = r->counts->top_k + 1;
    json_t *layers = json_array();
    for (size_t layer = 0; layer < r->counts->layers; ++layer) {
        json_array_append_new(layers,
                              fractions_json(r->counts->histogram + layer * size, size, layer_pairs(r)));
    }
    return layers;
}

static json_t *selections_json(const adamoe_eval_result *r)
{
    json_t *layers = json_array();
    for (size_t layer = 0; layer < r->counts->layers; ++layer) {
        json_array_append_new(layers, fractions_json(r->counts->selections + layer * r->counts->experts,
                                                     r->counts->experts, layer_pairs(r)));
    }
    return layers;
}

static json_t *load_by_map_json(const adamoe_eval_result *r)
{
    const double pairs = (double)r->work.tokens * (double)r->counts->layers;
    json_t *loads = json_object();
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        (void)json_object_set_new(
            loads, strrchr(adamoe_map_names[map], '.') + 1,
            adamoe_json_number(pairs == 0.0 ? 0.0 : (double)r->adapted_rows[map] / pairs));
    }
    return loads;
}

/* The seconds of each stage over `unit`. */
static json_t *stages_json(const adamoe_eval_result *r, double unit)
{
    json_t *stages = json_object();
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        json_object_set_new(stages, adamoe_forward_stage_names[i], json_real(r->stage_seconds[i] / unit));
    }
    json_object_set_new(stages, "outside", json_real(adamoe_outside_stages(r) / unit));
    return stages;
}

static json_t *cost_json(const adamoe_eval_result *r)
{
    const adamoe_eval_cost c = adamoe_eval_cost_of(r);
    const double tokens = (double)r->work.tokens;
    json_t *cost = json_pack("{s:o,s:I,s:f,s:o,s:o,s:o,s:f,s:o}", "kernel", adamoe_json_text(r->kernel),
                             "threads", (json_int_t)r->threads, "load", c.load, "load_by_layer",
                             fractions_json(r->counts->expert_rows, r->counts->layers, layer_pairs(r)),
                             "true_expert_histogram", histogram_json(r), "true_expert_histogram_by_layer",
                             layer_histograms_json(r), "all_null_share", adamoe_all_null_share(r),
                             "selections_by_layer", selections_json(r));
    json_t *more = json_pack("{s:o,s:o,s:I,s:f,s:f,s:b,s:I,s:I,s:f,s:f,s:f,s:b}", "executed_flops",
                             flops_json(&c.executed), "baseline_flops", flops_json(&c.baseline), "baseline_k",
                             (json_int_t)r->baseline_k, "expert_flops_reduction", c.expert_reduction,
                             "model_flops_reduction", c.model_reduction, "weights_are_random",
                             (int)r->weights_are_random, "questions_cut", (json_int_t)r->cut,
                             "tokens_processed", (json_int_t)r->work.tokens, "seconds", r->seconds,
                             "questions_per_second", (double)r->count / r->seconds, "tokens_per_second",
                             tokens / r->seconds, "layer_by_layer", (int)r->layer_by_layer);
    if (cost == NULL || more == NULL || json_object_update(cost, more) != 0) {
        json_decref(cost);
        cost = NULL;
    }
    json_decref(more);
    if (cost != NULL && r->lora != NULL) {
        json_object_set_new(cost, "feed_forward_flops", json_integer((json_int_t)c.feed_forward));
        json_object_set_new(cost, "load_by_map", load_by_map_json(r));
        json_object_set_new(cost, "lora_rank", json_integer((json_int_t)r->lora->rank));
    }
    if (cost != NULL && r->stage_seconds != NULL) {
        json_object_set_new(cost, "stage_seconds", stages_json(r, 1.0));
        json_object_set_new(cost, "stage_shares", stages_json(r, r->seconds));
    }
    if (cost != NULL && r->peak.gflops > 0.0) {
        json_object_set_new(cost, "fma_peak_gflops", json_real(r->peak.gflops));
        json_object_set_new(cost, "fma_peak_share",
                            json_real((double)c.executed.total / r->seconds * 1e-9 / r->peak.gflops));
    }
    if (cost != NULL && r->choice != NULL) {
        json_object_set_new(cost, "kernel_choice", adamoe_choice_json(r->choice));
    }
    if (cost != NULL && r->resumed > 0) {
        json_object_set_new(cost, "questions_resumed", json_integer((json_int_t)r->resumed));
    }
    if (cost != NULL && r->traffic != NULL) {
        json_object_set_new(cost, "bytes_reduction",
                            adamoe_json_number(adamoe_traffic_sum(r->traffic).bytes_reduction));
        json_object_set_new(cost, "communication", adamoe_traffic_json(r->traffic));
    }
    if (cost != NULL && r->dense_product != NULL) {
        json_object_set_new(cost, "dense_product", adamoe_json_text(r->dense_product));
    }
    if (cost != NULL && r->implementation != NULL) {
        json_object_set_new(cost, "implementation", adamoe_json_text(r->implementation));
    }
    return cost;
}

static json_t *config_json(const adamoe_eval_result *r)
{
    json_t *config =
        json_pack("{s:o,s:o,s:s,s:s,s:I,s:I,s:s,s:s,s:i}", "model", adamoe_json_text(r->model), "questions",
                  adamoe_json_text(r->questions), "format", adamoe_format_names[r->format], "bos",
                  adamoe_bos_names[r->bos], "top_k", (json_int_t)r->config->rule.top_k, "null_experts",
                  (json_int_t)r->config->null_experts, "norm", adamoe_norm_names[r->config->rule.norm],
                  "null_kind", adamoe_null_kind_names[r->config->rule.null_kind], "num_fewshot", 0);
    if (config != NULL && r->router != NULL) {
        json_object_set_new(config, "router", adamoe_router_file_json(r->router));
        json_object_set_new(config, "causal",
                            json_boolean(adamoe_router_is_causal(r->router->router, r->router->value)));
    }
    return config;
}

json_t *adamoe_eval_json(const adamoe_eval_result *r)
{
    json_t *alias = adamoe_json_text(r->task);
    const char *task = json_string_value(alias);
    if (task == NULL) {
        return NULL;
    }
    json_t *scores =
        json_pack("{s:O,s:o,s:o,s:o,s:o}", "alias", alias, "acc,none", adamoe_json_number(r->accuracy.mean),
                  "acc_stderr,none", adamoe_json_number(r->accuracy.standard_error), "acc_norm,none",
                  adamoe_json_number(r->accuracy_norm.mean), "acc_norm_stderr,none",
                  adamoe_json_number(r->accuracy_norm.standard_error));
    json_t *all = json_pack("{s:{s:o},s:{s:{s:I,s:I}},s:o,s:f,s:o}", "results", task, scores, "n-samples",
                            task, "original", (json_int_t)r->total, "effective", (json_int_t)r->count,
                            "config", config_json(r), "date", (double)time(NULL), "adamoe", cost_json(r));
    if (all != NULL && r->version != NULL) {
        (void)json_object_set_new(all, "versions", json_pack("{s:f}", task, *r->version));
    }
    json_decref(alias);
    return all;
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
    return fflush(stream) == 0 ? adamoe_ok()
                               : adamoe_error(ADAMOE_ENVIRONMENT, "%s: write: %s", path, strerror(errno));
}

adamoe_status adamoe_eval_write_samples(const char *path, const adamoe_questions *questions,
                                        const adamoe_outcome *outcomes, size_t count)
{
    if (strcmp(path, "-") == 0) {
        return write_lines("standard output", stdout, questions, outcomes, count);
    }
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

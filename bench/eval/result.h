/*
 * From scored questions to numbers: accuracies with standard errors, load, FLOPs, time; as text, JSON and
 * samples.
 */
#ifndef ADAMOE_EVAL_RESULT_H
#define ADAMOE_EVAL_RESULT_H

#include "eval/fastest_kernel.h"
#include "peaks/fma_peak.h"
#include "model/forward_stages.h"
#include "lora/lora_model.h"
#include "program/options.h"
#include "eval/prompt.h"
#include "eval/score.h"
#include "ranks/traffic.h"

#include <jansson.h>

/* One question's outcome. */
typedef struct adamoe_outcome {
    double *logprob; /* [choices] */
    size_t prediction, prediction_norm;
} adamoe_outcome;

/* A mean of 0 and 1 over n questions, with its standard error: the sample standard deviation (n - 1) over
 * sqrt(n); NaN for fewer than two. */
typedef struct adamoe_accuracy {
    double mean, standard_error;
} adamoe_accuracy;

typedef struct adamoe_eval_result {
    const char *task;      /* its name, or the file name of the questions without its suffix */
    const double *version; /* of the harness's task, or NULL */
    const char *model;     /* folder */
    const char *questions; /* path */
    const char *kernel;
    const char *dense_product; /* the kernel whose dense product serves it, or NULL: its own */
    const adamoe_kernel_choice
        *choice;                /* how the kernel was chosen, or NULL: it was named, or is the default */
    const char *implementation; /* what the kernel says that it runs on, or NULL */
    adamoe_format format;
    adamoe_bos bos;
    const adamoe_config *config;
    uint32_t threads;
    size_t baseline_k, count, total;
    size_t resumed; /* questions that an earlier run had finished */
    size_t cut;     /* questions of which the beginning was left out, so that they fit into the context */
    bool layer_by_layer, weights_are_random;
    adamoe_accuracy accuracy, accuracy_norm;
    const adamoe_route_counts *counts;
    const adamoe_lora_sizes *lora; /* adapters on a dense model, whose config then shows theirs; else NULL */
    const adamoe_model_router *router; /* in place of the config's rule, or NULL */
    const uint64_t *adapted_rows;      /* [ADAMOE_MAPS] of the adapters */
    adamoe_work work;
    double seconds;
    const double *stage_seconds;          /* [ADAMOE_FORWARD_STAGES] of the forward pass, or NULL */
    const adamoe_traffic_report *traffic; /* of several ranks, or NULL */
    adamoe_fma_peak peak; /* of the threads that scored, measured before and after; 0 where it was not */
} adamoe_eval_result;

/* prediction = the first largest log-probability; prediction_norm likewise, each divided by its choice's
 * characters (a choice without characters counts as one). */
void adamoe_predict(const adamoe_prompt *prompt, adamoe_outcome *outcome);

adamoe_accuracy adamoe_accuracy_of(size_t right, size_t count);

/* The standard error in percent, or "-" where there is none. */
typedef struct adamoe_error_text {
    char text[16];
} adamoe_error_text;

adamoe_error_text adamoe_standard_error_text(const adamoe_accuracy *accuracy);

/* FLOPs against the baseline: the same tokens, no null expert, top-baseline_k. With adapters, `experts` are
 * theirs, and the frozen feed-forward layers stand beside; both totals contain them. */
typedef struct adamoe_eval_cost {
    double load; /* mean number of true experts per token and layer, of adapters per token and map */
    uint64_t feed_forward;
    adamoe_flops executed, baseline;
    double expert_reduction, model_reduction; /* of FLOPs, as fractions */
} adamoe_eval_cost;

adamoe_eval_cost adamoe_eval_cost_of(const adamoe_eval_result *result);

/* Share of (token, layer) in which no true expert was selected. */
double adamoe_all_null_share(const adamoe_eval_result *result);

/* Seconds outside of the forward pass: making batches, adding up log-probabilities. Of a result that has stages. */
double adamoe_outside_stages(const adamoe_eval_result *result);

void adamoe_eval_print(const adamoe_eval_result *result);
json_t *adamoe_eval_json(const adamoe_eval_result *result);

/* A JSON line for each question; whole or not at all, or to standard output where path is "-". */
adamoe_status adamoe_eval_write_samples(const char *path, const adamoe_questions *questions,
                                        const adamoe_outcome *outcomes, size_t count);

#endif

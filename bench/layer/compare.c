/*
 * A layer's results against what its file expects. Nothing is compared with a tolerance that somebody chose:
 * what the kernel computed has the yardstick of its own arithmetic, the file's tensors that of float32, with
 * the error that the logits may have carried into the weights.
 */
#include "layer/run.h"
#include "numbers.h"
#include "bound/bound.h"
#include "bound/judge.h"
#include "router.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define UNIT 0x1p-24

/* Files are written by float32 programs: operands as stored, sums in float32. Their exponentials may miss by
 * a few units; 4 is what the vector mathematics libraries in use state. */
static const adamoe_declared file_arithmetic = {.x = ADAMOE_FLOAT32,
                                                .h = ADAMOE_FLOAT32,
                                                .weight = ADAMOE_FLOAT32,
                                                .accumulate = ADAMOE_FLOAT32,
                                                .silu_error = 4.0};

typedef struct comparing {
    const adamoe_layer_run *run;
    const adamoe_safetensors *file;
    adamoe_comparison *list;
    size_t count;
    size_t file_top_k;     /* the k of the expected ids and weights */
    double *logit_allowed; /* [tokens, n+m]: by how much a float32 logit may miss */
} comparing;

static adamoe_comparison *add(comparing *c, const char *name, bool passed, double ratio)
{
    adamoe_comparison *next = &c->list[c->count++];
    *next = (adamoe_comparison){
        .name = name, .passed = passed, .vacuous = c->run->tokens == 0, .largest_ratio = ratio};
    return next;
}

static adamoe_status find(const comparing *c, const char *name, adamoe_dtype dtype, size_t rows,
                          size_t columns, const adamoe_tensor **out)
{
    const adamoe_tensor *tensor = adamoe_safetensors_find(c->file, name);
    *out = tensor;
    if (tensor == NULL) {
        return adamoe_ok();
    }
    const bool right_rank = tensor->rank == 2 || (tensor->rank == 1 && columns == 1);
    if (!right_rank || tensor->dtype != dtype || tensor->shape[0] != rows ||
        (tensor->rank == 2 && tensor->shape[1] != columns)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s: expected %s [%zu, %zu]",
                            adamoe_safetensors_path(c->file), name, adamoe_dtype_name(dtype), rows, columns);
    }
    return adamoe_ok();
}

static void copy_floats(const adamoe_tensor *tensor, float *out)
{
    memcpy(out, tensor->data, tensor->elements * sizeof *out); /* the mapped data may be unaligned */
}

static void report_verdict(comparing *c, const char *name, const adamoe_verdict *verdict,
                           const adamoe_yardstick *yardstick, const float *got, size_t columns)
{
    const bool passed = verdict->passed;
    adamoe_comparison *entry = add(c, name, passed, verdict->largest_ratio);
    const size_t worst = verdict->worst;
    entry->vacuous = passed && verdict->vacuous;
    if (yardstick->count == 0) {
        return;
    }
    (void)snprintf(entry->detail, sizeof entry->detail,
                   "largest error/bound %.3g, rms %.3g%s; at [%zu, %zu]: got %.9g, exact %.9g",
                   verdict->largest_ratio, verdict->rms_ratio, passed ? "" : " (above 1)", worst / columns,
                   worst % columns, (double)got[worst], yardstick->expected[worst]);
}

/* A float tensor of the file, or the kernel's own (values not NULL), against a yardstick. */
static adamoe_status judge(comparing *c, const char *name, const adamoe_yardstick *yardstick,
                           const float *values, const adamoe_tensor *tensor, size_t columns)
{
    float *copy = NULL;
    if (values == NULL) {
        copy = calloc(tensor->elements + 1, sizeof *copy);
        if (copy == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", name);
        }
        copy_floats(tensor, copy);
        values = copy;
    }
    const adamoe_verdict verdict = adamoe_judge(yardstick, values, 1.0);
    report_verdict(c, name, &verdict, yardstick, values, columns);
    free(copy);
    return adamoe_ok();
}

/* The router's product, where the kernel made it. */
static adamoe_status compare_kernel_logits(comparing *c)
{
    const adamoe_layer_run *run = c->run;
    const size_t all = run->router.rows;
    adamoe_yardstick yardstick;
    if (!run->kernel_made_logits) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_yardstick_create(run->tokens * all, &yardstick));
    adamoe_status status = adamoe_matrix_yardstick(&run->router, adamoe_kernel_arithmetic(run->kernel),
                                                   run->hidden_states, run->tokens, &yardstick);
    if (status.code == ADAMOE_OK) {
        status = judge(c, "router_logits of the kernel", &yardstick, run->routing->logits, NULL, all);
    }
    adamoe_yardstick_free(&yardstick);
    return status;
}

/* How far a float32 logit may be off: needed for near ties and for the weights. */
static adamoe_status compare_logits(comparing *c)
{
    const adamoe_layer_run *run = c->run;
    const size_t all = run->router.rows;
    const adamoe_tensor *tensor = NULL;
    adamoe_yardstick yardstick;
    ADAMOE_TRY(find(c, "expected.router_logits", ADAMOE_F32, run->tokens, all, &tensor));
    ADAMOE_TRY(adamoe_yardstick_create(run->tokens * all, &yardstick));
    adamoe_status status =
        adamoe_matrix_yardstick(&run->router, file_arithmetic, run->hidden_states, run->tokens, &yardstick);
    if (status.code == ADAMOE_OK && tensor != NULL) {
        status = judge(c, "expected.router_logits", &yardstick, NULL, tensor, all);
    }
    const double lambda = adamoe_bound_factor(run->tokens * all, ADAMOE_FALSE_ALARM);
    for (size_t i = 0; i < yardstick.count; ++i) {
        c->logit_allowed[i] = lambda * yardstick.spread[i] + yardstick.slack[i];
    }
    adamoe_yardstick_free(&yardstick);
    return status;
}

/* The k of the expected ids, else of the expected weights, else the run's. */
static size_t file_top_k(const comparing *c)
{
    static const char *const names[] = {"expected.selected_experts", "expected.routing_weights"};
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_find(c->file, names[i]);
        if (tensor != NULL && tensor->rank == 2 && tensor->shape[1] >= 1 &&
            tensor->shape[1] <= c->run->router.rows) {
            return tensor->shape[1];
        }
    }
    return c->run->routing->rule.top_k;
}

static void compare_top_k(comparing *c)
{
    const size_t k = c->run->routing->rule.top_k;
    c->file_top_k = file_top_k(c);
    if (c->file_top_k != k) {
        adamoe_comparison *entry = add(c, "top-k", false, 0.0);
        (void)snprintf(entry->detail, sizeof entry->detail, "the file expects k = %zu, the run has k = %zu",
                       c->file_top_k, k);
    }
}

/* By how much the logits of a token may be off, at the most. */
static double token_logit_allowed(const comparing *c, size_t token)
{
    const size_t all = c->run->router.rows;
    double largest = 0.0;
    for (size_t i = 0; i < all; ++i) {
        largest = fmax(largest, c->logit_allowed[token * all + i]);
    }
    return largest;
}

/* w = exp(l_j) / sum: errors of at most e in every logit change it by a factor of at most exp(2e); then the
 * exponentials, the sum of up to k of them and the quotient are rounded. */
static double relative_weight_error(const comparing *c, size_t token)
{
    const double terms = (double)c->run->routing->rule.top_k + (double)c->run->router.rows;
    return expm1(2.0 * token_logit_allowed(c, token)) + (terms + 16.0) * UNIT;
}

static int64_t element_i64(const adamoe_tensor *tensor, size_t index)
{
    int64_t value;
    memcpy(&value, (const unsigned char *)tensor->data + index * sizeof value, sizeof value);
    return value;
}

/* The same id at every place, unless the two logits differ by more than 0 and less than both may be off. */
static bool is_near_tie(const comparing *c, size_t token, uint32_t ours, int64_t theirs)
{
    const size_t all = c->run->router.rows;
    if (theirs < 0 || (uint64_t)theirs >= all) {
        return false;
    }
    const float *logits = c->run->routing->logits + token * all;
    const double gap = fabs((double)logits[ours] - (double)logits[theirs]);
    return gap > 0.0 && gap <= 2.0 * token_logit_allowed(c, token);
}

static adamoe_status compare_ids(comparing *c)
{
    const adamoe_routing *routing = c->run->routing;
    const size_t k = routing->rule.top_k;
    const adamoe_tensor *tensor = NULL;
    ADAMOE_TRY(find(c, "expected.selected_experts", ADAMOE_I64, routing->tokens, c->file_top_k, &tensor));
    if (tensor == NULL || c->file_top_k != k) {
        return adamoe_ok();
    }
    size_t flips = 0;
    for (size_t i = 0; i < routing->tokens * k; ++i) {
        const int64_t theirs = element_i64(tensor, i);
        if (theirs == (int64_t)routing->id[i]) {
            continue;
        }
        if (!is_near_tie(c, i / k, routing->id[i], theirs)) {
            adamoe_comparison *entry = add(c, "expected.selected_experts", false, 0.0);
            (void)snprintf(entry->detail, sizeof entry->detail,
                           "token %zu, place %zu: got %u, expected %" PRId64, i / k, i % k, routing->id[i],
                           theirs);
            return adamoe_ok();
        }
        ++flips;
    }
    adamoe_comparison *entry = add(c, "expected.selected_experts", true, 0.0);
    (void)snprintf(entry->detail, sizeof entry->detail, "%zu ids in order, %zu near ties",
                   routing->tokens * k, flips);
    return adamoe_ok();
}

static adamoe_status compare_counts(comparing *c)
{
    const adamoe_routing *routing = c->run->routing;
    const adamoe_tensor *tensor = NULL;
    ADAMOE_TRY(find(c, "expected.true_experts_per_token", ADAMOE_I64, routing->tokens, 1, &tensor));
    for (size_t t = 0; tensor != NULL && t < routing->tokens; ++t) {
        const size_t ours = adamoe_routing_true_experts(routing, t);
        if (element_i64(tensor, t) != (int64_t)ours) {
            adamoe_comparison *entry = add(c, "expected.true_experts_per_token", false, 0.0);
            (void)snprintf(entry->detail, sizeof entry->detail, "token %zu: got %zu, expected %" PRId64, t,
                           ours, element_i64(tensor, t));
            return adamoe_ok();
        }
    }
    if (tensor != NULL) {
        (void)add(c, "expected.true_experts_per_token", true, 0.0);
    }
    return adamoe_ok();
}

static adamoe_status compare_weights(comparing *c)
{
    const adamoe_routing *routing = c->run->routing;
    const size_t k = routing->rule.top_k;
    const adamoe_tensor *tensor = NULL;
    adamoe_yardstick yardstick;
    ADAMOE_TRY(find(c, "expected.routing_weights", ADAMOE_F32, routing->tokens, c->file_top_k, &tensor));
    if (tensor == NULL || c->file_top_k != k) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_yardstick_create(routing->tokens * k, &yardstick));
    for (size_t i = 0; i < yardstick.count; ++i) {
        yardstick.expected[i] = (double)routing->weight[i];
        yardstick.slack[i] = (double)routing->weight[i] * relative_weight_error(c, i / k);
    }
    const adamoe_status status = judge(c, "expected.routing_weights", &yardstick, NULL, tensor, k);
    adamoe_yardstick_free(&yardstick);
    return status;
}

/* What errors of the weights add to each output: at most sum_j w_j |E_j(x)| times the relative error, which
 * is bounded through the outputs of single rows. */
static adamoe_status widen_by_weights(const comparing *c, adamoe_yardstick *yardstick)
{
    const adamoe_layer_run *run = c->run;
    const size_t d = run->layer->hidden_size;
    double *magnitude = calloc(d + 1, sizeof *magnitude);
    if (magnitude == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
    }
    for (size_t t = 0; t < run->tokens; ++t) {
        const adamoe_status status =
            adamoe_token_magnitude(run->layer, run->hidden_states, run->plan, t, magnitude);
        if (status.code != ADAMOE_OK) {
            free(magnitude);
            return status;
        }
        for (size_t i = 0; i < d; ++i) {
            yardstick->slack[t * d + i] += magnitude[i] * relative_weight_error(c, t);
        }
    }
    free(magnitude);
    return adamoe_ok();
}

static adamoe_status compare_expected_outputs(comparing *c, adamoe_yardstick *yardstick)
{
    static const char *const names[] = {"expected.output", "expected.output_f64_rounded"};
    const adamoe_layer_run *run = c->run;
    const size_t d = run->layer->hidden_size;
    ADAMOE_TRY(adamoe_layer_yardstick(run->layer, file_arithmetic, run->hidden_states, run->plan, yardstick));
    ADAMOE_TRY(widen_by_weights(c, yardstick));
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_tensor *tensor = NULL;
        ADAMOE_TRY(find(c, names[i], ADAMOE_F32, run->tokens, d, &tensor));
        if (tensor != NULL) {
            ADAMOE_TRY(judge(c, names[i], yardstick, NULL, tensor, d));
        }
    }
    return adamoe_ok();
}

static adamoe_status compare_kernel_output(comparing *c, adamoe_yardstick *yardstick)
{
    const adamoe_layer_run *run = c->run;
    ADAMOE_TRY(adamoe_layer_yardstick(run->layer, adamoe_kernel_arithmetic(run->kernel), run->hidden_states,
                                      run->plan, yardstick));
    return judge(c, "output of the kernel", yardstick, run->output, NULL, run->layer->hidden_size);
}

static adamoe_status compare_outputs(comparing *c)
{
    adamoe_yardstick yardstick;
    ADAMOE_TRY(adamoe_yardstick_create(c->run->tokens * c->run->layer->hidden_size, &yardstick));
    adamoe_status status = compare_kernel_output(c, &yardstick);
    if (status.code == ADAMOE_OK) {
        status = compare_expected_outputs(c, &yardstick);
    }
    adamoe_yardstick_free(&yardstick);
    return status;
}

/* All terms of a loss are positive, so its relative error is at most that of a probability (softmax: as a
 * weight) plus one unit for each addition: over tokens, over experts, and the products. */
static adamoe_status compare_loss(comparing *c, const char *key, double ours)
{
    const char *text = adamoe_safetensors_metadata(c->file, key);
    if (text == NULL) {
        return adamoe_ok();
    }
    char *end = NULL;
    const double theirs = strtod(text, &end);
    if (end == text || *end != '\0') {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %s is not a number",
                            adamoe_safetensors_path(c->file), key);
    }
    double weight_error = 0.0;
    for (size_t t = 0; t < c->run->tokens; ++t) {
        weight_error = fmax(weight_error, relative_weight_error(c, t));
    }
    const double terms = (double)c->run->tokens + (double)c->run->router.rows + 8.0;
    const double allowed = fabs(ours) * (weight_error + terms * UNIT);
    const double ratio = fabs(theirs - ours) / (allowed > 0.0 ? allowed : UNIT);
    adamoe_comparison *entry = add(c, key, ratio <= 1.0, ratio);
    (void)snprintf(entry->detail, sizeof entry->detail, "got %.9g, expected %.9g", ours, theirs);
    return adamoe_ok();
}

static adamoe_status compare_all(comparing *c)
{
    compare_top_k(c);
    ADAMOE_TRY(compare_kernel_logits(c));
    ADAMOE_TRY(compare_logits(c));
    ADAMOE_TRY(compare_ids(c));
    ADAMOE_TRY(compare_counts(c));
    ADAMOE_TRY(compare_weights(c));
    ADAMOE_TRY(compare_outputs(c));
    ADAMOE_TRY(compare_loss(c, "plain_balance_loss", c->run->loss.switch_form));
    ADAMOE_TRY(compare_loss(c, "null_averaged_balance_loss", c->run->loss.null_averaged));
    return compare_loss(c, "released_code_balance_loss", c->run->loss.released);
}

const char *adamoe_comparison_status(const adamoe_comparison *comparison)
{
    if (!comparison->passed) {
        return "failed";
    }
    return comparison->vacuous ? "vacuous" : "passed";
}

adamoe_status adamoe_layer_compare(const adamoe_layer_run *run, const adamoe_safetensors *file,
                                   adamoe_comparison *comparisons, size_t *count)
{
    comparing c = {.run = run, .file = file, .list = comparisons};
    c.logit_allowed = calloc(run->tokens * run->router.rows + 1, sizeof *c.logit_allowed);
    if (c.logit_allowed == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
    }
    const adamoe_status status = compare_all(&c);
    free(c.logit_allowed);
    *count = c.count;
    return status;
}

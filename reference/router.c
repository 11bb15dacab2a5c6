/*
 * The router: reference/README.md section 2, from hidden states to selected experts and their weights.
 */
#include "router.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* l_i = gate_row_i · x. The sum runs in one order for every row, so equal rows give bit-equal logits. */
static float router_logit(const adamoe_matrix *gate, size_t row, const float *x)
{
    double sum = 0.0;
    for (size_t c = 0; c < gate->columns; ++c) {
        sum += adamoe_matrix_at(gate, row, c) * (double)x[c];
    }
    return (float)sum;
}

void adamoe_router_logits(const adamoe_layer *layer, const float *hidden_states, size_t tokens, float *logits)
{
    const size_t n = layer->experts, m = layer->null_experts;
    for (size_t t = 0; t < tokens; ++t) {
        const float *x = hidden_states + t * layer->hidden_size;
        float *l = logits + t * (n + m);
        for (size_t i = 0; i < n; ++i) {
            l[i] = layer->gate.rows == 0 ? 0.0f : router_logit(&layer->gate, i, x);
        }
        for (size_t i = 0; i < m; ++i) {
            l[n + i] = router_logit(&layer->gate2, i, x);
        }
    }
}

/* Every stored value is a float32 value, so that nothing is rounded. */
static void widen(const adamoe_matrix *matrix, float *out)
{
    for (size_t i = 0; i < matrix->rows * matrix->columns; ++i) {
        out[i] = adamoe_element(matrix->data, matrix->dtype, i);
    }
}

adamoe_status adamoe_router_matrix(const adamoe_layer *layer, float **rows, adamoe_matrix *out)
{
    const size_t n = layer->experts, m = layer->null_experts, d = layer->hidden_size;
    float *joined = calloc((n + m) * d + 1, sizeof *joined); /* + 1: calloc(0) may give NULL */
    if (joined == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory for %zu rows", n + m);
    }
    widen(&layer->gate, joined);
    widen(&layer->gate2, joined + n * d);
    *rows = joined;
    *out = (adamoe_matrix){.data = joined, .dtype = ADAMOE_F32, .rows = n + m, .columns = d};
    return adamoe_ok();
}

/* p = softmax(l) over all n + m. The largest logit is subtracted, so that no exponential overflows. */
static void softmax(const float *logits, size_t count, float *probabilities)
{
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        largest = fmax(largest, (double)logits[i]);
    }
    for (size_t i = 0; i < count; ++i) {
        sum += exp((double)logits[i] - largest);
    }
    for (size_t i = 0; i < count; ++i) {
        probabilities[i] = (float)(exp((double)logits[i] - largest) / sum);
    }
}

/* S = the k largest logits, in descending order; among equal logits the lower index wins (reference/README.md
 * section 2.1): a later candidate replaces an earlier one only if it is strictly larger. */
static void select_top_k(const float *logits, size_t count, size_t top_k, bool *taken, uint32_t *id)
{
    memset(taken, 0, count * sizeof *taken);
    for (size_t j = 0; j < top_k; ++j) {
        size_t best = count;
        for (size_t i = 0; i < count; ++i) {
            if (!taken[i] && (best == count || logits[i] > logits[best])) {
                best = i;
            }
        }
        taken[best] = true;
        id[j] = (uint32_t)best;
    }
}

/* ------------------------------------------------------------------------------------------------ weights */

/* True where the weight of a selected expert is part of the sum that the weights are divided by. */
static bool is_normalised_over(const adamoe_routing *routing, uint32_t id)
{
    return id < routing->experts || adamoe_weightings[routing->rule.norm].over == ADAMOE_OVER_SELECTED;
}

/* w_j = exp(l_j) / sum of exp(l_i) over the selected true experts (norm true) or over all selected ones (norm
 * all), with the maximum of those logits subtracted: a softmax over all n + m could underflow for a true
 * expert far below a null one. */
static void normalised_weights(const adamoe_routing *routing, const float *logits, const float *probability,
                               const uint32_t *id, float *weight)
{
    (void)probability;
    const size_t k = routing->rule.top_k;
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t j = 0; j < k; ++j) {
        if (is_normalised_over(routing, id[j])) {
            largest = fmax(largest, (double)logits[id[j]]);
        }
    }
    for (size_t j = 0; j < k; ++j) {
        if (is_normalised_over(routing, id[j])) {
            sum += exp((double)logits[id[j]] - largest);
        }
    }
    for (size_t j = 0; j < k; ++j) {
        const bool is_true = id[j] < routing->experts;
        weight[j] = is_true ? (float)(exp((double)logits[id[j]] - largest) / sum) : 0.0f;
    }
}

/* norm = none: w_j = p_j, the softmax over all n + m. */
static void unnormalised_weights(const adamoe_routing *routing, const float *logits, const float *probability,
                                 const uint32_t *id, float *weight)
{
    (void)logits;
    for (size_t j = 0; j < routing->rule.top_k; ++j) {
        weight[j] = id[j] < routing->experts ? probability[j] : 0.0f;
    }
}

/* norm = every: w_j = exp(l_j) / sum of exp(l_i) over all true experts i. */
static void weights_over_every(const adamoe_routing *routing, const float *logits, const float *probability,
                               const uint32_t *id, float *weight)
{
    (void)probability;
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t i = 0; i < routing->experts; ++i) {
        largest = fmax(largest, (double)logits[i]);
    }
    for (size_t i = 0; i < routing->experts; ++i) {
        sum += exp((double)logits[i] - largest);
    }
    for (size_t j = 0; j < routing->rule.top_k; ++j) {
        const bool is_true = id[j] < routing->experts;
        weight[j] = is_true ? (float)(exp((double)logits[id[j]] - largest) / sum) : 0.0f;
    }
}

/* A norm is a row here and an enumerator in adamoe.h: its name, what its weights are a softmax over, and how
 * they are made. */
#define NORMS(ROW)                                                                                           \
    ROW(ADAMOE_NORM_TRUE, "true", ADAMOE_OVER_TRUE, normalised_weights)                                      \
    ROW(ADAMOE_NORM_ALL, "all", ADAMOE_OVER_SELECTED, normalised_weights)                                    \
    ROW(ADAMOE_NORM_NONE, "none", ADAMOE_OVER_ALL, unnormalised_weights)                                     \
    ROW(ADAMOE_NORM_EVERY, "every", ADAMOE_OVER_EVERY, weights_over_every)

#define NULL_KINDS(ROW)                                                                                      \
    ROW(ADAMOE_NULL_ZERO, "zero")                                                                            \
    ROW(ADAMOE_NULL_IDENTITY, "identity")

#define NORM_WEIGHTING(norm, name, over, weigh) [norm] = {over, weigh},
#define NORM_NAME(norm, name, over, weigh)      [norm] = name,
#define NORM_CHOICE(norm, name, over, weigh)    "|" name
#define KIND_NAME(kind, name)                   [kind] = name,
#define KIND_CHOICE(kind, name)                 "|" name

const adamoe_weighting adamoe_weightings[ADAMOE_NORMS] = {NORMS(NORM_WEIGHTING)};
const char *const adamoe_norm_names[ADAMOE_NORMS] = {NORMS(NORM_NAME)};
const char *const adamoe_null_kind_names[ADAMOE_NULL_KINDS] = {NULL_KINDS(KIND_NAME)};
const char adamoe_norm_choices[] = NORMS(NORM_CHOICE);
const char adamoe_null_kind_choices[] = NULL_KINDS(KIND_CHOICE);

bool adamoe_norm_named(const char *name, adamoe_norm *out)
{
    for (size_t i = 0; i < ADAMOE_NORMS && name != NULL; ++i) {
        if (strcmp(name, adamoe_norm_names[i]) == 0) {
            *out = (adamoe_norm)i;
            return true;
        }
    }
    return false;
}

adamoe_status adamoe_norm_trains(adamoe_norm norm)
{
    return adamoe_weightings[norm].over != ADAMOE_OVER_NOTHING
               ? adamoe_ok()
               : adamoe_error(ADAMOE_NOT_SUPPORTED, "norm %s: its weights have no derivative here",
                              adamoe_norm_names[norm]);
}

/* ------------------------------------------------------------------------------------------------ routing */

static void route_token(adamoe_routing *routing, size_t token, bool *taken)
{
    const size_t all = routing->experts + routing->null_experts, k = routing->rule.top_k;
    const float *logits = routing->logits + token * all;
    float *probabilities = routing->probabilities + token * all;
    uint32_t *id = routing->id + token * k;
    float *probability = routing->probability + token * k, *weight = routing->weight + token * k;

    softmax(logits, all, probabilities);
    select_top_k(logits, all, k, taken, id);
    for (size_t j = 0; j < k; ++j) {
        probability[j] = probabilities[id[j]];
    }
    adamoe_weightings[routing->rule.norm].weigh(routing, logits, probability, id, weight);
}

static adamoe_status check_logits(const float *logits, size_t tokens, size_t all)
{
    for (size_t i = 0; i < tokens * all; ++i) {
        if (!isfinite(logits[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "token %zu: logit of expert %zu is %s", i / all, i % all,
                                isnan(logits[i]) ? "NaN" : "infinite");
        }
    }
    return adamoe_ok();
}

static adamoe_status check_sizes(size_t tokens, size_t experts, size_t null_experts, size_t top_k)
{
    if (experts == 0 || experts > UINT32_MAX || null_experts > UINT32_MAX - experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "experts: %zu true and %zu null are not between 1 and 2^32 - 1",
                            experts, null_experts);
    }
    if (top_k == 0 || top_k > experts + null_experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "top-k: %zu is not between 1 and %zu, the number of experts",
                            top_k, experts + null_experts);
    }
    if (tokens > SIZE_MAX / sizeof(double) / (experts + null_experts)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tokens: %zu times %zu experts overflows", tokens,
                            experts + null_experts);
    }
    return adamoe_ok();
}

static adamoe_status allocate_routing(size_t tokens, size_t experts, size_t null_experts, adamoe_rule rule,
                                      adamoe_routing **out)
{
    const size_t all = experts + null_experts, k = rule.top_k;
    adamoe_routing *routing = calloc(1, sizeof *routing);
    if (routing == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory");
    }
    routing->tokens = tokens;
    routing->experts = experts;
    routing->null_experts = null_experts;
    routing->rule = rule;
    routing->id = calloc(tokens * k + 1, sizeof *routing->id); /* + 1: calloc(0) may give NULL */
    routing->weight = calloc(tokens * k + 1, sizeof *routing->weight);
    routing->probability = calloc(tokens * k + 1, sizeof *routing->probability);
    routing->logits = calloc(tokens * all + 1, sizeof *routing->logits);
    routing->probabilities = calloc(tokens * all + 1, sizeof *routing->probabilities);
    if (routing->id == NULL || routing->weight == NULL || routing->probability == NULL ||
        routing->logits == NULL || routing->probabilities == NULL) {
        adamoe_routing_free(routing);
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", tokens);
    }
    *out = routing;
    return adamoe_ok();
}

adamoe_status adamoe_routing_create(const float *logits, size_t tokens, size_t experts, size_t null_experts,
                                    adamoe_rule rule, adamoe_routing **out)
{
    ADAMOE_TRY(check_sizes(tokens, experts, null_experts, rule.top_k));
    ADAMOE_TRY(check_logits(logits, tokens, experts + null_experts));
    bool *taken = calloc(experts + null_experts, sizeof *taken);
    if (taken == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory");
    }
    adamoe_routing *routing = NULL;
    const adamoe_status status = allocate_routing(tokens, experts, null_experts, rule, &routing);
    if (status.code == ADAMOE_OK) {
        if (tokens > 0) { /* without tokens, `logits` may be NULL */
            memcpy(routing->logits, logits, tokens * (experts + null_experts) * sizeof *logits);
        }
        for (size_t t = 0; t < tokens; ++t) {
            route_token(routing, t, taken);
        }
        *out = routing;
    }
    free(taken);
    return status;
}

void adamoe_routing_free(adamoe_routing *routing)
{
    if (routing == NULL) {
        return;
    }
    free(routing->id);
    free(routing->weight);
    free(routing->probability);
    free(routing->logits);
    free(routing->probabilities);
    free(routing);
}

size_t adamoe_routing_true_experts(const adamoe_routing *routing, size_t token)
{
    size_t count = 0;
    for (size_t j = 0; j < routing->rule.top_k; ++j) {
        count += routing->id[token * routing->rule.top_k + j] < routing->experts;
    }
    return count;
}

double adamoe_routing_load(const adamoe_routing *routing)
{
    size_t count = 0;
    for (size_t t = 0; t < routing->tokens; ++t) {
        count += adamoe_routing_true_experts(routing, t);
    }
    return routing->tokens == 0 ? 0.0 : (double)count / (double)routing->tokens;
}

/*
 * One token's router backward.
 */
#include "train/router_backward.h"
#include "router.h"

#include <math.h>
#include <string.h>

/* One token's routing, and the derivatives of its weights by their place in the token's list. */
typedef struct token_routing {
    size_t n, all, k;
    adamoe_rule rule;
    adamoe_softmax_set over;
    const uint32_t *id;         /* [k] */
    const float *weight;        /* [k] */
    const float *probability;   /* [k] of the selected ones */
    const float *probabilities; /* [n + m] */
    const float *logits;        /* [n + m] */
    const float *dweight;       /* [true experts selected], ascending by expert */
    double dself;
    const double *slope; /* [n + m] */
    float *dlogits;      /* [n + m] */
} token_routing;

/* A token's list is ascending by expert: its place is the number of smaller ids among the true ones. */
static double derivative_of_weight(const token_routing *t, size_t j)
{
    size_t place = 0;
    for (size_t i = 0; i < t->k; ++i) {
        place += t->id[i] < t->id[j];
    }
    return (double)t->dweight[place];
}

/* dl_i -= w_i mean for every true expert i, selected or not. The first true one of the list has the largest logit of
 * all true ones, so that w_i = w exp(l_i - l) of its own. Without one the mean is 0. */
static void every_backward(const token_routing *t, double mean)
{
    size_t first = 0;
    while (first < t->k && t->id[first] >= t->n) {
        ++first;
    }
    for (size_t i = 0; i < t->n && first < t->k; ++i) {
        const double distance = (double)t->logits[i] - (double)t->logits[t->id[first]];
        t->dlogits[i] -= (float)((double)t->weight[first] * exp(distance) * mean);
    }
}

/* w = softmax over the experts that it is normalised over: dl_i += w_i (dw_i - sum of w_j dw_j). */
static void weights_backward(const token_routing *t)
{
    double mean = 0.0, selected = 0.0;
    for (size_t j = 0; j < t->k; ++j) {
        selected += (double)t->probability[j];
        if (t->id[j] < t->n) {
            const double part = (double)t->weight[j] * derivative_of_weight(t, j);
            mean += part;
            t->dlogits[t->id[j]] += (float)part;
        }
    }
    const bool over_selected = t->over == ADAMOE_OVER_TRUE || t->over == ADAMOE_OVER_SELECTED;
    for (size_t j = 0; j < t->k && over_selected; ++j) {
        if (t->id[j] < t->n) {
            t->dlogits[t->id[j]] -= (float)((double)t->weight[j] * mean);
        } else if (t->over == ADAMOE_OVER_SELECTED) { /* the sum holds the largest p: it is not 0 */
            t->dlogits[t->id[j]] -= (float)((double)t->probability[j] / selected * mean);
        }
    }
    for (size_t i = 0; i < t->all && t->over == ADAMOE_OVER_ALL; ++i) {
        t->dlogits[i] -= (float)((double)t->probabilities[i] * mean);
    }
    if (t->over == ADAMOE_OVER_EVERY) {
        every_backward(t, mean);
    }
}

/* p = softmax over all: dl_i += p_i (dp_i - sum of p_j dp_j), with dp_i = slope_i of the balance loss, and
 * for a selected identity expert the derivative of its weight, which is p_i. */
static void probabilities_backward(const token_routing *t)
{
    const bool identity = t->rule.null_kind == ADAMOE_NULL_IDENTITY;
    double mean = 0.0;
    for (size_t i = 0; i < t->all; ++i) {
        mean += (double)t->probabilities[i] * t->slope[i];
    }
    for (size_t j = 0; j < t->k; ++j) {
        if (identity && t->id[j] >= t->n) {
            mean += (double)t->probability[j] * t->dself;
            t->dlogits[t->id[j]] += (float)((double)t->probability[j] * t->dself);
        }
    }
    for (size_t i = 0; i < t->all; ++i) {
        t->dlogits[i] += (float)((double)t->probabilities[i] * (t->slope[i] - mean));
    }
}

void adamoe_router_token_backward(const adamoe_routing *routing, size_t token, const float *dweight,
                                  double dself, const double *slope, float *dlogits)
{
    const size_t all = routing->experts + routing->null_experts, k = routing->rule.top_k;
    const token_routing t = {.n = routing->experts,
                             .all = all,
                             .k = k,
                             .rule = routing->rule,
                             .over = adamoe_weightings[routing->rule.norm].over,
                             .id = routing->id + token * k,
                             .weight = routing->weight + token * k,
                             .probability = routing->probability + token * k,
                             .probabilities = routing->probabilities + token * all,
                             .logits = routing->logits + token * all,
                             .dweight = dweight,
                             .dself = dself,
                             .slope = slope,
                             .dlogits = dlogits};
    memset(t.dlogits, 0, all * sizeof *t.dlogits);
    weights_backward(&t);
    probabilities_backward(&t);
}

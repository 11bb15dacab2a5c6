/*
 * The router in double for a given selection, and its gradient: from the weights of the selected experts, the
 * weight of identity experts and the probabilities, through the norm and the softmax, to the rows of gate and
 * gate2. The selection is a constant.
 */
#include "gradient/gradient.h"
#include "numbers.h"
#include "router.h"

#include <math.h>
#include <string.h>

void adamoe_router_logits_double(const adamoe_layer *layer, const double *x, double *logits)
{
    const adamoe_matrix *const gates[] = {&layer->gate, &layer->gate2};
    const size_t first[] = {0, layer->experts};
    memset(logits, 0, (layer->experts + layer->null_experts) * sizeof *logits);
    for (size_t g = 0; g < 2; ++g) {
        for (size_t i = 0; i < gates[g]->rows; ++i) {
            for (size_t c = 0; c < gates[g]->columns; ++c) {
                logits[first[g] + i] += adamoe_matrix_at(gates[g], i, c) * x[c];
            }
        }
    }
}

void adamoe_router_backward(const adamoe_layer *layer, const double *x, const double *dlogits, double *dx,
                            const adamoe_layer_gradient *gradient)
{
    adamoe_product_backward(&layer->gate, x, dlogits, dx, gradient->gate);
    adamoe_product_backward(&layer->gate2, x, dlogits + layer->experts, dx, gradient->gate2);
}

/* A softmax over a set of logits: over all n + m, which gives the probabilities; or over what the norm's row
 * says, which gives the weights. */
typedef struct softmax {
    adamoe_rule rule;
    adamoe_softmax_set over;
    size_t experts, all;
    double largest, sum;
} softmax;

static bool is_selected(const softmax *s, const uint32_t *id, size_t i)
{
    for (size_t j = 0; j < s->rule.top_k; ++j) {
        if (id[j] == i) {
            return true;
        }
    }
    return false;
}

static bool is_in_softmax(const softmax *s, const uint32_t *id, size_t i)
{
    switch (s->over) {
    case ADAMOE_OVER_TRUE:
        return i < s->experts && is_selected(s, id, i);
    case ADAMOE_OVER_SELECTED:
        return is_selected(s, id, i);
    case ADAMOE_OVER_EVERY:
        return i < s->experts;
    case ADAMOE_OVER_ALL:
        return true;
    case ADAMOE_OVER_NOTHING: /* refused before: adamoe_norm_trains */
        break;
    }
    return false;
}

/* Without a selected true expert and norm `true` the sum is 0, and nobody asks for a member. */
static softmax softmax_over(adamoe_softmax_set over, adamoe_rule rule, size_t experts, size_t null_experts,
                            const double *logits, const uint32_t *id)
{
    softmax s = {rule, over, experts, experts + null_experts, -HUGE_VAL, 0.0};
    for (size_t i = 0; i < s.all; ++i) {
        s.largest = is_in_softmax(&s, id, i) ? fmax(s.largest, logits[i]) : s.largest;
    }
    for (size_t i = 0; i < s.all; ++i) {
        s.sum += is_in_softmax(&s, id, i) ? exp(logits[i] - s.largest) : 0.0;
    }
    return s;
}

static softmax softmax_over_all(adamoe_rule rule, size_t experts, size_t null_experts, const double *logits,
                                const uint32_t *id)
{
    return softmax_over(ADAMOE_OVER_ALL, rule, experts, null_experts, logits, id);
}

static double member(const softmax *s, const double *logits, size_t i)
{
    return exp(logits[i] - s->largest) / s->sum;
}

void adamoe_token_weights_double(adamoe_rule rule, size_t experts, size_t null_experts, const double *logits,
                                 const uint32_t *id, adamoe_token_weights *out)
{
    const softmax all = softmax_over_all(rule, experts, null_experts, logits, id);
    const softmax s =
        softmax_over(adamoe_weightings[rule.norm].over, rule, experts, null_experts, logits, id);
    for (size_t i = 0; i < all.all; ++i) {
        out->probability[i] = member(&all, logits, i);
    }
    out->self = 0.0;
    for (size_t j = 0; j < rule.top_k; ++j) {
        const bool is_true = id[j] < experts;
        out->weight[j] = is_true ? member(&s, logits, id[j]) : 0.0;
        if (!is_true && rule.null_kind == ADAMOE_NULL_IDENTITY) {
            out->self += out->probability[id[j]];
        }
    }
}

/* w = softmax over a set of logits: dl_i += w_i (dw_i - sum over the set of w_j dw_j), where dw is 0 for
 * null experts and for those that are not selected. */
static void weights_backward(const softmax *s, const double *logits, const uint32_t *id,
                             const double *dweight, double *dlogits)
{
    double mean = 0.0;
    for (size_t j = 0; j < s->rule.top_k; ++j) {
        if (id[j] < s->experts) {
            const double w = member(s, logits, id[j]);
            mean += w * dweight[j];
            dlogits[id[j]] += w * dweight[j];
        }
    }
    for (size_t i = 0; i < s->all; ++i) {
        if (is_in_softmax(s, id, i)) {
            dlogits[i] -= member(s, logits, i) * mean;
        }
    }
}

/* dp_i: what the loss asks of the probability itself, and of an identity expert's weight, which it is. */
static double probability_derivative(const softmax *all, const uint32_t *id,
                                     const adamoe_token_weights *derivative, size_t i)
{
    const bool is_identity =
        all->rule.null_kind == ADAMOE_NULL_IDENTITY && i >= all->experts && is_selected(all, id, i);
    return derivative->probability[i] + (is_identity ? derivative->self : 0.0);
}

/* p = softmax(l) over all: dl_i += p_i (dp_i - sum over j of p_j dp_j) */
static void probabilities_backward(const softmax *all, const double *logits, const uint32_t *id,
                                   const adamoe_token_weights *derivative, double *dlogits)
{
    double mean = 0.0;
    for (size_t i = 0; i < all->all; ++i) {
        mean += member(all, logits, i) * probability_derivative(all, id, derivative, i);
    }
    for (size_t i = 0; i < all->all; ++i) {
        dlogits[i] += member(all, logits, i) * (probability_derivative(all, id, derivative, i) - mean);
    }
}

void adamoe_token_weights_backward(adamoe_rule rule, size_t experts, size_t null_experts,
                                   const double *logits, const uint32_t *id,
                                   const adamoe_token_weights *derivative, double *dlogits)
{
    const softmax all = softmax_over_all(rule, experts, null_experts, logits, id);
    const softmax s =
        softmax_over(adamoe_weightings[rule.norm].over, rule, experts, null_experts, logits, id);
    weights_backward(&s, logits, id, derivative->weight, dlogits);
    probabilities_backward(&all, logits, id, derivative, dlogits);
}

/*
 * A routing, judged: see judge.h.
 */
#include "check/tiers/route/judge.h"
#include "router.h"

#include <math.h>
#include <string.h>

adamoe_rule adamoe_check_rule(const adamoe_case *c)
{
    return (adamoe_rule){.top_k = c->mixture.top_k, .norm = c->norm, .null_kind = ADAMOE_NULL_ZERO};
}

void adamoe_check_routing_fails(const adamoe_checking *k, size_t row, size_t column, double got,
                                double expected, double bound, const char *what)
{
    const double error = fabs(got - expected);
    k->out->has_element = true;
    k->out->row = row;
    k->out->column = column;
    k->out->got = got;
    k->out->expected = expected;
    k->out->bound = bound;
    k->out->largest_ratio = bound > 0.0 && isfinite(error) ? error / bound : HUGE_VAL;
    adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "%s", what);
}

/* What the softmax over some of a token's logits may be off, relative and in units of u. */
typedef struct softmax_bound {
    double largest, mean_distance, terms, exp_error;
} softmax_bound;

/* Over logits[i] for which `of` (by place in the list ids, or all where that is NULL) holds. */
static softmax_bound bound_of(const float *logits, const uint32_t *ids, size_t count, size_t below,
                              double exp_error)
{
    softmax_bound b = {-HUGE_VAL, 0.0, 0.0, exp_error};
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const size_t expert = ids == NULL ? i : ids[i];
        b.largest = expert < below ? fmax(b.largest, (double)logits[expert]) : b.largest;
    }
    for (size_t i = 0; i < count; ++i) {
        const size_t expert = ids == NULL ? i : ids[i];
        const double distance = b.largest - (double)logits[expert], part = exp(-distance);
        if (expert < below && part > 0.0) {
            b.mean_distance += part * distance;
            sum += part;
            b.terms += 1.0;
        }
    }
    b.mean_distance = sum > 0.0 ? b.mean_distance / sum : 0.0;
    return b;
}

static double allowed(const softmax_bound *b, double logit, double expected)
{
    const double units = fabs(b->largest - logit) + b->mean_distance + 2.0 * b->exp_error + b->terms + 3.0;
    return 0x1p-24 * units * fabs(expected) + 0x1p-126; /* exp may flush what is denormal */
}

static bool same_values(const adamoe_checking *k, const adamoe_routing *got, const adamoe_routing *expected,
                        size_t t)
{
    const size_t top_k = got->rule.top_k, all = got->experts + got->null_experts;
    const float *logits = expected->logits + t * all;
    const uint32_t *ids = expected->id + t * top_k;
    const softmax_bound whole = bound_of(logits, NULL, all, all, k->route_exp_error);
    const softmax_bound normed =
        adamoe_weightings[got->rule.norm].over == ADAMOE_OVER_ALL ? whole
        : adamoe_weightings[got->rule.norm].over == ADAMOE_OVER_EVERY
            ? bound_of(logits, NULL, got->experts, got->experts, k->route_exp_error)
            : bound_of(logits, ids, top_k,
                       adamoe_weightings[got->rule.norm].over == ADAMOE_OVER_TRUE ? got->experts : all,
                       k->route_exp_error);
    for (size_t j = 0; j < top_k + all; ++j) {
        const size_t i = j < top_k ? ids[j] : j - top_k;
        const double logit = (double)logits[i];
        const float *const mine =
            j < top_k ? &got->probability[t * top_k + j] : &got->probabilities[t * all + i];
        const double theirs =
            (double)(j < top_k ? expected->probability[t * top_k + j] : expected->probabilities[t * all + i]);
        if (!(fabs((double)*mine - theirs) <= allowed(&whole, logit, theirs))) {
            adamoe_check_routing_fails(k, t, j < top_k ? j : i, (double)*mine, theirs,
                                       allowed(&whole, logit, theirs),
                                       j < top_k ? "a selected expert's probability" : "a probability");
            return false;
        }
        const double weight = j < top_k ? (double)expected->weight[t * top_k + j] : 0.0;
        const double room = i < got->experts ? allowed(&normed, logit, weight) : 0.0;
        if (j < top_k && !(fabs((double)got->weight[t * top_k + j] - weight) <= room)) {
            adamoe_check_routing_fails(k, t, j, (double)got->weight[t * top_k + j], weight, room,
                                       i < got->experts ? "a weight" : "a null expert's weight, which is 0");
            return false;
        }
    }
    return true;
}

bool adamoe_check_routing(const adamoe_checking *k, const adamoe_routing *got, const adamoe_routing *expected)
{
    const size_t top_k = expected->rule.top_k;
    for (size_t i = 0; i < expected->tokens * top_k; ++i) {
        if (got->id[i] != expected->id[i]) {
            adamoe_check_routing_fails(k, i / top_k, i % top_k, (double)got->id[i], (double)expected->id[i],
                                       0.0, "another expert was selected");
            return false;
        }
    }
    for (size_t t = 0; t < expected->tokens; ++t) {
        if (!same_values(k, got, expected, t)) {
            return false;
        }
    }
    if (expected->tokens > 0) {
        k->out->has_element = true;
        k->out->got = k->out->expected = (double)expected->id[0];
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------ same bits */

/* Rows of `width` elements from row `row` of a routing. */
static bool same_array(const adamoe_checking *k, const float *got, const float *expected, size_t row,
                       size_t rows, size_t width, const char *name, const char *what)
{
    char text[160];
    (void)snprintf(text, sizeof text, "%s: %s", name, what);
    const bool same = adamoe_check_same_bits(k, got, expected + row * width, rows * width, width, text);
    k->out->row += same ? 0 : row;
    return same;
}

bool adamoe_check_same_routing(const adamoe_checking *k, const adamoe_routing *got,
                               const adamoe_routing *expected, size_t row, const char *what)
{
    const size_t top_k = got->rule.top_k, all = got->experts + got->null_experts, rows = got->tokens;
    for (size_t i = 0; i < rows * top_k; ++i) {
        const uint32_t other = expected->id[row * top_k + i];
        if (got->id[i] != other) {
            char text[160];
            (void)snprintf(text, sizeof text, "not the same expert: %s", what);
            adamoe_check_routing_fails(k, row + i / top_k, i % top_k, (double)got->id[i], (double)other, 0.0,
                                       text);
            return false;
        }
    }
    return same_array(k, got->weight, expected->weight, row, rows, top_k, "weights", what) &&
           same_array(k, got->probability, expected->probability, row, rows, top_k,
                      "probabilities of what is selected", what) &&
           same_array(k, got->probabilities, expected->probabilities, row, rows, all, "probabilities", what);
}

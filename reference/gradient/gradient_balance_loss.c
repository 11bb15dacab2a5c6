/*
 * The gradient of the balance losses in their three forms (reference/README.md section 3). Only P has one.
 */
#include "gradient/gradient.h"

#include <string.h>

/* count[i] += the counted tokens that selected expert i; returns the number of counted tokens. */
static size_t count_selections(const adamoe_routing *routing, const bool *counted, double *count)
{
    const size_t k = routing->rule.top_k;
    size_t tokens = 0;
    for (size_t t = 0; t < routing->tokens; ++t) {
        if (counted != NULL && !counted[t]) {
            continue;
        }
        ++tokens;
        for (size_t j = t * k; j < (t + 1) * k; ++j) {
            count[routing->id[j]] += 1.0;
        }
    }
    return tokens;
}

/* From selections to slopes, in place: alpha (n + m) f_i / tokens with f_i = count[i] / tokens, f~_i in its
 * place for the null-averaged form. The released form is `switch`: see balance_loss.c. */
static void slopes_of_counts(const adamoe_routing *routing, adamoe_balance_form form, double scale,
                             size_t tokens, double *slope)
{
    const size_t n = routing->experts, m = routing->null_experts;
    double null_sum = 0.0;
    for (size_t i = n; i < n + m; ++i) {
        null_sum += slope[i];
    }
    for (size_t i = 0; i < n + m && tokens > 0; ++i) {
        const bool averaged = form == ADAMOE_BALANCE_NULL_AVERAGED && i >= n;
        const double count = averaged ? null_sum / (double)m : slope[i];
        slope[i] = scale * (double)(n + m) * count / (double)tokens / (double)tokens;
    }
}

void adamoe_balance_slope(const adamoe_routing *const *routing, size_t layers, adamoe_balance_form form,
                          adamoe_balance_pooling pooling, const bool *counted, double alpha, double *slope)
{
    const size_t all = layers == 0 ? 0 : routing[0]->experts + routing[0]->null_experts;
    size_t tokens = 0;
    for (size_t i = 0; i < layers * all; ++i) {
        slope[i] = 0.0;
    }
    if (pooling == ADAMOE_BALANCE_SUMMED) {
        for (size_t l = 0; l < layers; ++l) {
            /* Each f adds up to k; divided by k it adds up to 1. */
            const double scale = alpha / (double)routing[l]->rule.top_k;
            tokens = count_selections(routing[l], counted, slope + l * all);
            slopes_of_counts(routing[l], form, scale, tokens, slope + l * all);
        }
        return;
    }
    for (size_t l = 0; l < layers; ++l) {
        tokens += count_selections(routing[l], counted, slope);
    }
    if (layers > 0) {
        slopes_of_counts(routing[0], form, alpha, tokens, slope);
    }
    for (size_t l = 1; l < layers; ++l) {
        memcpy(slope + l * all, slope, all * sizeof *slope);
    }
}

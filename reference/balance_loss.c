/*
 * The balance losses in their three forms (reference/README.md section 3), in double. Gradients are in
 * gradient_balance_loss.c.
 */
#include "balance_loss.h"

#include <string.h>

/* What one loss needs of expert i: f, the fraction of tokens that selected it, and
 * P, its mean probability. */
typedef struct share {
    double f, p;
} share;

/* Experts whose shares are gathered in one pass over the tokens: more than models have, few enough for the
 * stack. */
enum { EXPERTS_PER_PASS = 512 };

/* Adds up selections and probabilities of the experts first .. first+count-1 over the counted tokens; returns
 * the number of those. */
static size_t add_shares(const adamoe_routing *routing, const bool *counted, size_t first, size_t count,
                         share *sum)
{
    const size_t all = routing->experts + routing->null_experts, k = routing->rule.top_k;
    size_t tokens = 0;
    for (size_t t = 0; t < routing->tokens; ++t) {
        if (counted != NULL && !counted[t]) {
            continue;
        }
        ++tokens;
        for (size_t i = 0; i < count; ++i) {
            sum[i].p += (double)routing->probabilities[t * all + first + i];
        }
        for (size_t j = t * k; j < (t + 1) * k; ++j) {
            const size_t i = routing->id[j];
            if (i >= first && i < first + count) {
                sum[i - first].f += 1.0;
            }
        }
    }
    return tokens;
}

/* f_i and P_i of some experts over the tokens of several layers, pooled. */
static void pooled_shares(const adamoe_routing *const *routing, size_t layers, const bool *counted,
                          size_t first, size_t count, share *sum)
{
    size_t tokens = 0;
    memset(sum, 0, count * sizeof *sum);
    for (size_t l = 0; l < layers; ++l) {
        tokens += add_shares(routing[l], counted, first, count, sum);
    }
    for (size_t i = 0; i < count && tokens > 0; ++i) {
        sum[i].f /= (double)tokens;
        sum[i].p /= (double)tokens;
    }
}

/* switch:        (n+m) sum_i f_i P_i
 * null_averaged: the same with f of every null expert replaced by their mean, equation 6 of the paper */
static adamoe_balance_loss loss_of_shares(const adamoe_routing *const *routing, size_t layers,
                                          const bool *counted, double f_scale)
{
    const size_t n = routing[0]->experts, m = routing[0]->null_experts;
    double plain = 0.0, true_part = 0.0, null_f = 0.0, null_p = 0.0;
    share s[EXPERTS_PER_PASS];
    for (size_t i = 0; i < n + m; ++i) {
        const size_t at = i % EXPERTS_PER_PASS, left = n + m - i;
        if (at == 0) {
            pooled_shares(routing, layers, counted, i, left < EXPERTS_PER_PASS ? left : EXPERTS_PER_PASS, s);
        }
        plain += s[at].f * s[at].p;
        if (i < n) {
            true_part += s[at].f * s[at].p;
        } else {
            null_f += s[at].f;
            null_p += s[at].p;
        }
    }
    const double null_part = m == 0 ? 0.0 : null_f / (double)m * null_p;
    const double scale = (double)(n + m) * f_scale;
    return (adamoe_balance_loss){
        .switch_form = scale * plain,
        .null_averaged = scale * (true_part + null_part),
        /* The released code's averaging line slices dimension 0 of a [k, n+m] tensor and writes back what was
         * there, so that nothing is averaged. */
        .released = scale * plain,
    };
}

adamoe_balance_loss adamoe_routing_balance_loss(const adamoe_routing *routing, const bool *counted)
{
    return loss_of_shares(&routing, 1, counted, 1.0);
}

adamoe_balance_loss adamoe_model_balance_loss(const adamoe_routing *const *routing, size_t layers,
                                              adamoe_balance_pooling pooling, const bool *counted)
{
    adamoe_balance_loss sum = {0.0, 0.0, 0.0};
    if (layers == 0) {
        return sum;
    }
    if (pooling == ADAMOE_BALANCE_POOLED) {
        return loss_of_shares(routing, layers, counted, 1.0);
    }
    for (size_t l = 0; l < layers; ++l) {
        /* Each f adds up to k; divided by k it adds up to 1. */
        const double f_scale = 1.0 / (double)routing[l]->rule.top_k;
        const adamoe_balance_loss loss = loss_of_shares(routing + l, 1, counted, f_scale);
        sum.switch_form += loss.switch_form;
        sum.null_averaged += loss.null_averaged;
        sum.released += loss.released;
    }
    return sum;
}

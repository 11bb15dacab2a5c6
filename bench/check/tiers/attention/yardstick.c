/*
 * What attention gives and how far it may be off: out = sum of p_j v_j over the keys that a query sees, p the softmax
 * of the scores s_j = q k_j / sqrt(D), in double against the kernel's float32.
 *
 * A score is off by at most e_j = u ((D + 2) sum |q k_j| / sqrt(D) + |s_j - max| + E): its sum and scaling,
 * the subtraction of the largest, exp to E units. To first order that moves out by sum p_j e_j |v_j - out|.
 * A weight below the normal numbers may be 0: 2^-126 |v_j|. The sum over K keys and the division by the sum
 * of K weights add u (2 K + 4) sum p_j |v_j|. Terms of second order are at most the first times 2 max e_j. It
 * is a bound for every order of summation, not a probability.
 *
 * Left out: keys and values in other types than float32.
 */
#include "check/tiers/attention/data.h"
#include "attention.h"

#include <math.h>
#include <stdlib.h>

typedef struct trial {
    const adamoe_attention_data *data;
    double exp_error;
    double *weight, *reach; /* [longest] p_j, then e_j */
    size_t *row;            /* [longest] the row of the key at each position of a sequence */
    adamoe_yardstick *yardstick;
} trial;

/* t->weight and t->reach of the keys first .. position; returns the largest reach. */
static double weigh(const trial *t, const float *query, size_t head, size_t first, size_t position)
{
    const size_t d = t->data->call.head_dim, stride = t->data->call.key_value_heads * d;
    const size_t key_head = head * t->data->call.key_value_heads / t->data->call.heads;
    double largest = -HUGE_VAL, sum = 0.0, worst = 0.0;
    for (size_t j = first; j <= position; ++j) {
        const float *key = t->data->key + t->row[j] * stride + key_head * d;
        double score = 0.0, magnitude = 0.0;
        for (size_t c = 0; c < d; ++c) {
            score += (double)query[c] * (double)key[c];
            magnitude += fabs((double)query[c] * (double)key[c]);
        }
        t->weight[j] = score / sqrt((double)d);
        t->reach[j] = ((double)d + 2.0) * magnitude / sqrt((double)d);
        largest = fmax(largest, t->weight[j]);
    }
    for (size_t j = first; j <= position; ++j) {
        t->reach[j] = 0x1p-24 * (t->reach[j] + largest - t->weight[j] + t->exp_error);
        t->weight[j] = exp(t->weight[j] - largest);
        sum += t->weight[j];
        worst = fmax(worst, t->reach[j]);
    }
    for (size_t j = first; j <= position; ++j) {
        t->weight[j] /= sum;
    }
    return worst;
}

static void expect_head(const trial *t, size_t query, size_t head, size_t position)
{
    const size_t d = t->data->call.head_dim, stride = t->data->call.key_value_heads * d;
    const size_t offset = head * t->data->call.key_value_heads / t->data->call.heads * d;
    const size_t at = (query * t->data->call.heads + head) * d;
    const size_t first =
        adamoe_first_visible(position, t->data->call.window == SIZE_MAX ? 0 : t->data->call.window);
    const double worst = weigh(t, t->data->query + at, head, first, position);
    const double terms = (double)(position + 1 - first);
    for (size_t c = 0; c < d; ++c) {
        double out = 0.0, magnitude = 0.0, moved = 0.0;
        for (size_t j = first; j <= position; ++j) {
            const double value = (double)t->data->value[t->row[j] * stride + offset + c];
            out += t->weight[j] * value;
            magnitude += t->weight[j] * fabs(value);
        }
        for (size_t j = first; j <= position; ++j) {
            const double value = (double)t->data->value[t->row[j] * stride + offset + c];
            moved += t->weight[j] * t->reach[j] * fabs(value - out) + 0x1p-126 * fabs(value);
        }
        t->yardstick->expected[at + c] = out;
        t->yardstick->slack[at + c] =
            (moved + 0x1p-24 * (2.0 * terms + 4.0) * magnitude) * (1.0 + 2.0 * worst);
    }
}

static void expect_all(const trial *t)
{
    const adamoe_attention_call *call = &t->data->call;
    for (size_t s = 0; s < call->spans; ++s) {
        const adamoe_attention_span *span = &call->span[s];
        for (size_t j = 0; j < span->start + span->count; ++j) {
            t->row[j] = adamoe_attention_key_row(t->data, s, j);
        }
        for (size_t i = span->skip; i < span->count; ++i) {
            for (size_t head = 0; head < call->heads; ++head) {
                expect_head(t, span->first_query + i - span->skip, head, span->start + i);
            }
        }
    }
}

adamoe_status adamoe_attention_yardstick(const adamoe_attention_data *data, double exp_error,
                                         adamoe_yardstick *out)
{
    trial t = {.data = data, .exp_error = exp_error, .yardstick = out};
    size_t longest = 0;
    for (size_t s = 0; s < data->call.spans; ++s) {
        const size_t end = data->span[s].start + data->span[s].count;
        longest = end > longest ? end : longest;
    }
    ADAMOE_TRY(adamoe_yardstick_create(data->queries * adamoe_attention_query_width(data), out));
    t.weight = calloc(2 * longest + 1, sizeof *t.weight);
    t.row = calloc(longest + 1, sizeof *t.row);
    const bool made = t.weight != NULL && t.row != NULL;
    if (made) {
        t.reach = t.weight + longest;
        expect_all(&t);
    }
    free(t.weight);
    free(t.row);
    return made ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

/*
 * The tier `bound` for attention: out = sum of p_j v_j over the keys that a query sees, p the softmax of the
 * scores s_j = q k_j / sqrt(D), in double against the kernel's float32.
 *
 * A score is off by at most e_j = u ((D + 2) sum |q k_j| / sqrt(D) + |s_j - max| + E): its sum and scaling,
 * the subtraction of the largest, exp to E units. To first order that moves out by sum p_j e_j |v_j - out|.
 * A weight below the normal numbers may be 0: 2^-126 |v_j|. The sum over K keys and the division by the sum
 * of K weights add u (2 K + 4) sum p_j |v_j|. Terms of second order are at most the first times 2 max e_j. It
 * is a bound for every order of summation, not a probability.
 *
 * Left out: keys and values in other types than float32.
 */
#include "attention.h"
#include "check/tiers/tiers.h"
#include "layers/random_layer.h"
#include "model/span_attention.h"

#include <math.h>
#include <stdlib.h>

#define MOST_SPANS 6

/* Of the queries. Huge: scores of some hundreds, whose exp is infinite or 0 unless the largest is
 * subtracted. */
static const float magnitude_scale[] = {1.0f, 0x1p-70f, 0x1p8f};

typedef struct trial {
    adamoe_attention_span span[MOST_SPANS];
    adamoe_attention_call call;
    size_t queries, keys, longest;
    float *query, *key, *value, *mixed;
    double *weight, *reach; /* [longest] p_j, then e_j */
    size_t *row;            /* [longest] the row of the key at each position of a sequence */
    adamoe_yardstick yardstick;
} trial;

static void add_span(trial *t, size_t parent, size_t count, size_t skip)
{
    const adamoe_attention_span *before = parent == ADAMOE_NO_PARENT ? NULL : &t->span[parent];
    const size_t start = before == NULL ? 0 : before->start + before->count;
    t->span[t->call.spans++] = (adamoe_attention_span){.first_query = t->queries,
                                                       .first_key = t->keys,
                                                       .start = start,
                                                       .count = count,
                                                       .parent = parent,
                                                       .skip = skip};
    t->queries += count - skip;
    t->keys += count;
    t->longest = start + count > t->longest ? start + count : t->longest;
}

/* Single: one sequence. Shared: two that continue the first, one that continues the second of them, one of
 * its own, and one whose first half came in an earlier call. */
static void make_spans(const adamoe_case *c, trial *t)
{
    add_span(t, ADAMOE_NO_PARENT, c->tokens, 0);
    if (c->shared) {
        add_span(t, 0, c->tokens / 2 + 1, 0);
        add_span(t, 0, 3, 0);
        add_span(t, 1, 1, 0);
        add_span(t, ADAMOE_NO_PARENT, 2, 0);
        add_span(t, ADAMOE_NO_PARENT, c->tokens + 1, (c->tokens + 1) / 2);
    }
    t->call.heads = c->heads;
    t->call.head_dim = c->head_dim;
    t->call.key_value_heads = c->key_value_heads;
    t->call.window = c->window == 0 ? SIZE_MAX : c->window;
    t->call.span = t->span;
}

static adamoe_status make_data(const adamoe_checking *k, trial *t)
{
    const adamoe_case *c = k->c;
    const size_t queries = t->queries * c->heads * c->head_dim;
    const size_t keys = t->keys * c->key_value_heads * c->head_dim;
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(c).text, k->seed);
    ADAMOE_TRY(adamoe_check_floats(queries, &t->query));
    ADAMOE_TRY(adamoe_check_floats(queries, &t->mixed));
    ADAMOE_TRY(adamoe_check_floats(keys, &t->key));
    ADAMOE_TRY(adamoe_check_floats(keys, &t->value));
    ADAMOE_TRY(adamoe_yardstick_create(queries, &t->yardstick));
    t->weight = calloc(2 * t->longest + 1, sizeof *t->weight);
    t->row = calloc(t->longest + 1, sizeof *t->row);
    if (t->weight == NULL || t->row == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    t->reach = t->weight + t->longest;
    adamoe_random_states(&random, queries, t->query);
    for (size_t i = 0; i < queries; ++i) {
        t->query[i] *= magnitude_scale[c->magnitude];
    }
    adamoe_random_states(&random, keys, t->key);
    adamoe_random_states(&random, keys, t->value);
    t->call.query = t->query;
    t->call.key = t->key;
    t->call.value = t->value;
    t->call.mixed = t->mixed;
    return adamoe_ok();
}

/* The rows of the keys of a span's sequence. */
static void find_rows(const trial *t, size_t s)
{
    for (; s != ADAMOE_NO_PARENT; s = t->span[s].parent) {
        for (size_t i = 0; i < t->span[s].count; ++i) {
            t->row[t->span[s].start + i] = t->span[s].first_key + i;
        }
    }
}

/* t->weight and t->reach of the keys first .. position; returns the largest reach. */
static double weigh(const trial *t, double exp_error, const float *query, size_t head, size_t first,
                    size_t position)
{
    const size_t d = t->call.head_dim, stride = t->call.key_value_heads * d;
    const size_t key_head = head * t->call.key_value_heads / t->call.heads;
    double largest = -HUGE_VAL, sum = 0.0, worst = 0.0;
    for (size_t j = first; j <= position; ++j) {
        const float *key = t->key + t->row[j] * stride + key_head * d;
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
        t->reach[j] = 0x1p-24 * (t->reach[j] + largest - t->weight[j] + exp_error);
        t->weight[j] = exp(t->weight[j] - largest);
        sum += t->weight[j];
        worst = fmax(worst, t->reach[j]);
    }
    for (size_t j = first; j <= position; ++j) {
        t->weight[j] /= sum;
    }
    return worst;
}

static void expect_head(const trial *t, double exp_error, size_t query, size_t head, size_t position)
{
    const size_t d = t->call.head_dim, stride = t->call.key_value_heads * d;
    const size_t offset = head * t->call.key_value_heads / t->call.heads * d;
    const size_t at = (query * t->call.heads + head) * d;
    const size_t first = adamoe_first_visible(position, t->call.window == SIZE_MAX ? 0 : t->call.window);
    const double worst = weigh(t, exp_error, t->query + at, head, first, position);
    const double terms = (double)(position + 1 - first);
    for (size_t c = 0; c < d; ++c) {
        double out = 0.0, magnitude = 0.0, moved = 0.0;
        for (size_t j = first; j <= position; ++j) {
            const double value = (double)t->value[t->row[j] * stride + offset + c];
            out += t->weight[j] * value;
            magnitude += t->weight[j] * fabs(value);
        }
        for (size_t j = first; j <= position; ++j) {
            const double value = (double)t->value[t->row[j] * stride + offset + c];
            moved += t->weight[j] * t->reach[j] * fabs(value - out) + 0x1p-126 * fabs(value);
        }
        t->yardstick.expected[at + c] = out;
        t->yardstick.slack[at + c] =
            (moved + 0x1p-24 * (2.0 * terms + 4.0) * magnitude) * (1.0 + 2.0 * worst);
    }
}

static void expect_all(const adamoe_checking *k, const trial *t)
{
    const double exp_error = k->attention_exp_error;
    for (size_t s = 0; s < t->call.spans; ++s) {
        const adamoe_attention_span *span = &t->span[s];
        find_rows(t, s);
        for (size_t i = span->skip; i < span->count; ++i) {
            for (size_t head = 0; head < t->call.heads; ++head) {
                expect_head(t, exp_error, span->first_query + i - span->skip, head, span->start + i);
            }
        }
    }
}

static adamoe_status compare(const adamoe_checking *k, const trial *t)
{
    static const adamoe_guard_end ends[] = {ADAMOE_GUARD_BACK, ADAMOE_GUARD_FRONT};
    adamoe_call_outcome outcome;
    expect_all(k, t);
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_attention(&manner, &t->call, t->queries, t->keys, &outcome));
        if (!adamoe_check_called(k, &outcome) ||
            !adamoe_check_judge(k, &t->yardstick, t->mixed, k->c->heads * k->c->head_dim, 1.0)) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_attention_bound(const adamoe_checking *k)
{
    trial t = {.queries = 0};
    make_spans(k->c, &t);
    adamoe_status status = make_data(k, &t);
    if (status.code == ADAMOE_OK) {
        status = compare(k, &t);
    }
    free(t.query);
    free(t.key);
    free(t.value);
    free(t.mixed);
    free(t.weight);
    free(t.row);
    adamoe_yardstick_free(&t.yardstick);
    return status;
}

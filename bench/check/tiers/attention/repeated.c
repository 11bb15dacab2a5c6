/*
 * Attention: the property `repeated-calls`.
 */
#include "check/tiers/attention/data.h"
#include "check/tiers/attention/tiers.h"
#include "check/tiers/repeated.h"

#include <stdlib.h>
#include <string.h>

/* In which respect a call differs from the case's: in one alone, or in its size. */
typedef enum change {
    NOTHING = 0,
    OTHER_QUERIES = 1,
    OTHER_KEYS = 2,
    LAST_VALUE = 3,
    OTHER_PARENT = 4, /* none, or two spans instead of one */
    OTHER_WINDOW = 5,
    WIDER_HEADS = 6, /* half as many: arrays of the same sizes */
    HALF_THE_TOKENS = 7,
    ONE_TOKEN = 8,
    CHANGES = 9,
} change;

typedef struct subject {
    const adamoe_checking *k;
    adamoe_attention_data data[CHANGES];
    adamoe_yardstick yardstick[CHANGES];
    float *expected[CHANGES]; /* [queries, heads, head_dim] what the kernel gave first */
} subject;

static void negate(float *values, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        values[i] = -values[i];
    }
}

/* Arrays, sizes of spans and the longest sequence stay as they are. */
static void change_spans(adamoe_attention_data *data)
{
    if (data->call.spans > 2) {
        data->span[2].parent = ADAMOE_NO_PARENT;
        data->span[2].start = 0;
        return;
    }
    const size_t count = data->span[0].count, half = (count + 1) / 2;
    if (count > 1) {
        data->span[0].count = half;
        data->span[1] = (adamoe_attention_span){
            .first_query = half, .first_key = half, .start = half, .count = count - half, .parent = 0};
        data->call.spans = 2;
    }
}

static void make_change(change what, adamoe_attention_data *data)
{
    adamoe_attention_call *call = &data->call;
    const size_t values = data->keys * adamoe_attention_key_width(data);
    switch (what) {
    case OTHER_QUERIES:
        negate(data->query, data->queries * adamoe_attention_query_width(data));
        return;
    case OTHER_KEYS:
        negate(data->key, values);
        return;
    case LAST_VALUE:
        data->value[values - 1] += 1.0f;
        return;
    case OTHER_PARENT:
        change_spans(data);
        return;
    case OTHER_WINDOW:
        call->window = call->window == SIZE_MAX ? 3 : call->window + 1;
        return;
    case WIDER_HEADS:
        if (call->heads % 2 == 0 && call->key_value_heads % 2 == 0) {
            call->heads /= 2;
            call->key_value_heads /= 2;
            call->head_dim *= 2;
        }
        return;
    default:
        return;
    }
}

static adamoe_status create(subject *s, change what)
{
    adamoe_case c = *s->k->c;
    adamoe_attention_data *data = &s->data[what];
    c.tokens = what == HALF_THE_TOKENS ? (c.tokens + 1) / 2 : what == ONE_TOKEN ? 1 : c.tokens;
    ADAMOE_TRY(adamoe_attention_data_create(&c, s->k->seed, data));
    make_change(what, data);
    ADAMOE_TRY(adamoe_attention_yardstick(data, s->k->attention_exp_error, &s->yardstick[what]));
    return adamoe_check_floats(data->queries * adamoe_attention_query_width(data), &s->expected[what]);
}

static adamoe_status compute(const subject *s, size_t i, const adamoe_call_manner *manner, bool *go_on)
{
    const adamoe_attention_data *data = &s->data[i];
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_attention(manner, &data->call, data->queries, data->keys, &outcome));
    *go_on = adamoe_check_called(s->k, &outcome);
    return adamoe_ok();
}

static bool judge(const subject *s, size_t i)
{
    const adamoe_attention_data *data = &s->data[i];
    return adamoe_check_judge(s->k, &s->yardstick[i], data->mixed, adamoe_attention_query_width(data), 1.0);
}

static adamoe_status call_first(const void *subject_of, size_t i, const adamoe_call_manner *manner,
                                bool *go_on)
{
    const subject *s = subject_of;
    ADAMOE_TRY(compute(s, i, manner, go_on));
    *go_on = *go_on && judge(s, i);
    memcpy(s->expected[i], s->data[i].mixed, s->yardstick[i].count * sizeof *s->expected[i]);
    return adamoe_ok();
}

static adamoe_status call_again(const void *subject_of, size_t i, const adamoe_call_manner *manner,
                                const char *what, bool *go_on)
{
    const subject *s = subject_of;
    const size_t width = adamoe_attention_query_width(&s->data[i]);
    ADAMOE_TRY(compute(s, i, manner, go_on));
    *go_on = *go_on && (adamoe_check_promises_runs(s->k)
                            ? adamoe_check_same_bits(s->k, s->data[i].mixed, s->expected[i],
                                                     s->yardstick[i].count, width, what)
                            : judge(s, i));
    return adamoe_ok();
}

adamoe_status adamoe_check_attention_repeated(const adamoe_checking *k)
{
    subject s = {.k = k};
    const adamoe_variants variants = {&s, CHANGES, call_first, call_again};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < CHANGES && status.code == ADAMOE_OK; ++i) {
        status = create(&s, (change)i);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_repeated(k, &variants);
    }
    for (size_t i = 0; i < CHANGES; ++i) {
        adamoe_attention_data_free(&s.data[i]);
        adamoe_yardstick_free(&s.yardstick[i]);
        free(s.expected[i]);
    }
    return status;
}

/*
 * Attention: the tier `property`. A key, a value or a query of one head that is not finite: those who do not see it give
 * what they gave without, and those who do show it.
 */
#include "check/tiers/attention/data.h"
#include "check/tiers/attention/tiers.h"
#include "check/tiers/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is poisoned. */
typedef enum place { IN_VALUE = 0, IN_KEY = 1, IN_QUERY = 2, PLACES = 3 } place;

static const char *const place_names[PLACES] = {"value", "key", "query"};

typedef struct trial {
    const adamoe_checking *k;
    adamoe_attention_data clean, poisoned;
    adamoe_yardstick yardstick; /* its expected is `expected` */
    float *expected;            /* [queries, heads, head_dim] what the kernel gave for `clean` */
} trial;

/* One head of a row of keys and values, or of queries. */
typedef struct spot {
    place in;
    size_t poison, row, head;
} spot;

/* Whether head `head` of query i of a span has a part in it. */
static bool has_part(const trial *t, const spot *at, size_t s, size_t i, size_t head)
{
    const adamoe_attention_call *call = &t->clean.call;
    const adamoe_attention_span *span = &call->span[s];
    const size_t position = span->start + i;
    if (at->in == IN_QUERY) {
        return span->first_query + i - span->skip == at->row && head == at->head;
    }
    bool sees = false;
    for (size_t j = 0; j <= position; ++j) {
        sees = sees || (adamoe_attention_key_row(&t->clean, s, j) == at->row && position - j < call->window);
    }
    return sees && head * call->key_value_heads / call->heads == at->head;
}

/* The first channel of what has a part in it that must not be finite: those of the value, or all of a score that is NaN.
 * An infinite score may also be that of a key that nobody sees, or the only one that counts. */
static size_t first_lost(const trial *t, const spot *at)
{
    const size_t d = t->clean.call.head_dim;
    return at->in == IN_VALUE ? adamoe_poison_first(at->poison, d) : adamoe_poison_is_nan(at->poison) ? 0 : d;
}

/* Takes what has a part in it out of the comparison that follows: false where it does not show. */
static bool take_out(const trial *t, const spot *at, const char *what)
{
    const adamoe_attention_call *call = &t->clean.call;
    const size_t d = call->head_dim, first = first_lost(t, at);
    for (size_t s = 0; s < call->spans; ++s) {
        const adamoe_attention_span *span = &call->span[s];
        for (size_t n = 0; n < (span->count - span->skip) * call->heads; ++n) {
            const size_t i = span->skip + n / call->heads, head = n % call->heads;
            const size_t query = span->first_query + i - span->skip;
            float *mixed = t->poisoned.mixed + (query * call->heads + head) * d;
            if (has_part(t, at, s, i, head)) {
                if (!adamoe_check_nowhere_finite(t->k, mixed + first, query, d - first, d, what)) {
                    return false;
                }
                memcpy(mixed, t->expected + (query * call->heads + head) * d, d * sizeof *mixed);
            }
        }
    }
    return true;
}

/* By bits if the kernel guarantees them, by twice the bound otherwise. */
static bool judge(const trial *t, const char *what)
{
    const uint32_t wanted = ADAMOE_SAME_BITS_BATCH | ADAMOE_SAME_BITS_RUNS;
    const size_t width = adamoe_attention_query_width(&t->clean);
    return (t->k->kernel->guarantees & wanted) == wanted
               ? adamoe_check_same_bits(t->k, t->poisoned.mixed, t->expected, t->yardstick.count, width, what)
               : adamoe_check_judge(t->k, &t->yardstick, t->poisoned.mixed, width, 2.0);
}

static adamoe_status compute(const trial *t, const adamoe_attention_data *data, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_attention(&manner, &data->call, data->queries, data->keys, &outcome));
    *go_on = adamoe_check_called(t->k, &outcome);
    return adamoe_ok();
}

static void copy_and_poison(const trial *t, const spot *at)
{
    const adamoe_attention_data *clean = &t->clean, *to = &t->poisoned;
    const size_t keys = clean->keys * adamoe_attention_key_width(clean) * sizeof(float);
    const size_t d = clean->call.head_dim;
    float *const into[PLACES] = {to->value, to->key, to->query};
    const size_t heads = at->in == IN_QUERY ? clean->call.heads : clean->call.key_value_heads;
    memcpy(to->query, clean->query, clean->queries * adamoe_attention_query_width(clean) * sizeof(float));
    memcpy(to->key, clean->key, keys);
    memcpy(to->value, clean->value, keys);
    adamoe_poison_row(at->poison, into[at->in] + (at->row * heads + at->head) * d, d);
}

static adamoe_status run_poison(const trial *t, const spot *at, bool *go_on)
{
    char sees[120], misses[120];
    copy_and_poison(t, at);
    ADAMOE_TRY(compute(t, &t->poisoned, go_on));
    (void)snprintf(sees, sizeof sees, "of a head whose %s is %s", place_names[at->in],
                   adamoe_poison_names[at->poison]);
    (void)snprintf(misses, sizeof misses, "where a %s that it has no part in is %s, and where it is not",
                   place_names[at->in], adamoe_poison_names[at->poison]);
    *go_on = *go_on && take_out(t, at, sees) && judge(t, misses);
    return adamoe_ok();
}

/* A key in the middle of the first span, which those that continue it see; a query in the middle of all. */
static adamoe_status run_poisons(const trial *t)
{
    const adamoe_attention_data *clean = &t->clean;
    bool go_on = true;
    for (size_t i = 0; i < PLACES * ADAMOE_POISONS && go_on; ++i) {
        spot at = {.in = (place)(i % PLACES), .poison = i / PLACES};
        const bool query = at.in == IN_QUERY;
        at.row = query ? clean->queries / 2 : clean->span[0].count / 2;
        at.head = i % (query ? clean->call.heads : clean->call.key_value_heads);
        ADAMOE_TRY(run_poison(t, &at, &go_on));
    }
    return adamoe_ok();
}

static adamoe_status run(trial *t)
{
    bool go_on = false;
    ADAMOE_TRY(compute(t, &t->clean, &go_on));
    if (!go_on) {
        return adamoe_ok();
    }
    for (size_t i = 0; i < t->yardstick.count; ++i) {
        t->expected[i] = t->clean.mixed[i];
        t->yardstick.expected[i] = (double)t->clean.mixed[i];
    }
    return run_poisons(t);
}

static adamoe_status check_poisoned(const adamoe_checking *k)
{
    trial t = {.k = k};
    adamoe_status status = adamoe_attention_data_create(k->c, k->seed, &t.clean);
    status = status.code == ADAMOE_OK ? adamoe_attention_data_create(k->c, k->seed, &t.poisoned) : status;
    status = status.code == ADAMOE_OK
                 ? adamoe_attention_yardstick(&t.clean, k->attention_exp_error, &t.yardstick)
                 : status;
    status = status.code == ADAMOE_OK ? adamoe_check_floats(t.yardstick.count, &t.expected) : status;
    status = status.code == ADAMOE_OK ? run(&t) : status;
    adamoe_attention_data_free(&t.clean);
    adamoe_attention_data_free(&t.poisoned);
    adamoe_yardstick_free(&t.yardstick);
    free(t.expected);
    return status;
}

adamoe_status adamoe_check_attention_property(const adamoe_checking *k)
{
    return k->c->property == ADAMOE_PROPERTY_REPEATED_CALLS ? adamoe_check_attention_repeated(k)
                                                            : check_poisoned(k);
}

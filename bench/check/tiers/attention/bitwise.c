/*
 * Attention: the tier `bitwise`. From run to run, for any number of threads and any order of their tasks, and for any
 * batch: what a query gives depends on the keys that it sees, not on what else is in the call, nor on where its
 * sequence is cut into spans, which the batch-mates decide.
 */
#include "check/tiers/again.h"
#include "check/tiers/attention/data.h"
#include "check/tiers/attention/tiers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole call, and what the kernel gave for it first. */
typedef struct subject {
    const adamoe_checking *k;
    const adamoe_attention_data *data;
    float *expected; /* [queries, heads, head_dim] */
} subject;

static adamoe_status compute(const adamoe_checking *k, const adamoe_attention_data *data,
                             const adamoe_call_manner *manner, bool *go_on)
{
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_attention(manner, &data->call, data->queries, data->keys, &outcome));
    *go_on = adamoe_check_called(k, &outcome);
    return adamoe_ok();
}

static adamoe_status compute_first(const void *subject_of, const adamoe_call_manner *manner, bool *go_on)
{
    const subject *s = subject_of;
    ADAMOE_TRY(compute(s->k, s->data, manner, go_on));
    memcpy(s->expected, s->data->mixed,
           s->data->queries * adamoe_attention_query_width(s->data) * sizeof *s->expected);
    return adamoe_ok();
}

static adamoe_status compare(const void *subject_of, const adamoe_call_manner *manner, const char *what,
                             bool *go_on)
{
    const subject *s = subject_of;
    const size_t width = adamoe_attention_query_width(s->data);
    ADAMOE_TRY(compute(s->k, s->data, manner, go_on));
    *go_on = *go_on &&
             adamoe_check_same_bits(s->k, s->data->mixed, s->expected, s->data->queries * width, width, what);
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------- parts of a batch */

/* A span without those that it does not continue; where it is cut; how many of its queries. */
typedef enum part_kind {
    PART_OF_SPANS = 0,   /* as it is, on spans without queries */
    PART_LAST_QUERY = 1, /* its last query alone, as it comes when one token is generated */
    PART_ONE_SPAN = 2,   /* the whole sequence in one span */
    PART_KINDS = 3,
} part_kind;

static const char *const part_names[PART_KINDS] = {"a span and what it continues alone, and among others",
                                                   "the last query of a span alone, and among others",
                                                   "a sequence in one span, and in several"};

/* The span and those that it continues, these without queries. */
static void add_line(const adamoe_attention_data *from, size_t s, size_t skip, adamoe_attention_data *part)
{
    if (from->span[s].parent != ADAMOE_NO_PARENT) {
        const size_t parent = from->span[s].parent;
        add_line(from, parent, from->span[parent].count, part);
    }
    adamoe_attention_data_add(part, part->call.spans == 0 ? ADAMOE_NO_PARENT : part->call.spans - 1,
                              from->span[s].count, skip);
}

/* The last queries of the span, as many as the part has. */
static void copy_rows(const adamoe_attention_data *from, size_t s, size_t last_query,
                      const adamoe_attention_data *part)
{
    const size_t width = adamoe_attention_query_width(from), key_width = adamoe_attention_key_width(from);
    memcpy(part->query, from->query + (last_query + 1 - part->queries) * width,
           part->queries * width * sizeof *part->query);
    for (size_t j = 0; j < part->keys; ++j) {
        const size_t row = adamoe_attention_key_row(from, s, j);
        memcpy(part->key + j * key_width, from->key + row * key_width, key_width * sizeof *part->key);
        memcpy(part->value + j * key_width, from->value + row * key_width, key_width * sizeof *part->value);
    }
}

static adamoe_status compare_rows(const subject *s, const adamoe_attention_data *part, size_t first_query,
                                  part_kind kind, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(s->k, ADAMOE_GUARD_BACK);
    const size_t width = adamoe_attention_query_width(part);
    ADAMOE_TRY(compute(s->k, part, &manner, go_on));
    if (*go_on && !adamoe_check_same_bits(s->k, part->mixed, s->expected + first_query * width,
                                          part->queries * width, width, part_names[kind])) {
        s->k->out->row += first_query;
        *go_on = false;
    }
    return adamoe_ok();
}

static adamoe_status compare_part(const subject *s, size_t span, part_kind kind, bool *go_on)
{
    const adamoe_attention_span *of = &s->data->span[span];
    const size_t last_query = of->first_query + of->count - of->skip - 1;
    adamoe_attention_data part;
    adamoe_attention_data_begin(&s->data->call, &part);
    if (kind == PART_ONE_SPAN) {
        adamoe_attention_data_add(&part, ADAMOE_NO_PARENT, of->start + of->count, of->start + of->skip);
    } else {
        add_line(s->data, span, kind == PART_LAST_QUERY ? of->count - 1 : of->skip, &part);
    }
    ADAMOE_TRY(adamoe_attention_data_allocate(&part));
    copy_rows(s->data, span, last_query, &part);
    const adamoe_status status = compare_rows(s, &part, last_query + 1 - part.queries, kind, go_on);
    adamoe_attention_data_free(&part);
    return status;
}

static adamoe_status check_batch(const void *subject_of)
{
    const subject *s = subject_of;
    bool go_on = true;
    for (size_t i = 0; i < s->data->call.spans * PART_KINDS && go_on; ++i) {
        ADAMOE_TRY(compare_part(s, i / PART_KINDS, (part_kind)(i % PART_KINDS), &go_on));
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_attention_bitwise(const adamoe_checking *k)
{
    static const adamoe_bitwise of = {.first = compute_first, .again = compare, .batch = check_batch};
    adamoe_attention_data data;
    subject s = {.k = k, .data = &data};
    if (!adamoe_check_claimed(k)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_attention_data_create(k->c, k->seed, &data));
    adamoe_status status =
        adamoe_check_floats(data.queries * adamoe_attention_query_width(&data), &s.expected);
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_promise(k, &of, &s, false);
    }
    free(s.expected);
    adamoe_attention_data_free(&data);
    return status;
}

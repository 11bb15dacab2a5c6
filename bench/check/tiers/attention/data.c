/*
 * Spans and arrays of a case of attention: see data.h.
 */
#include "check/tiers/attention/data.h"

#include <stdlib.h>

/* Of the queries. Huge: scores of some hundreds, whose exp is infinite or 0 unless the largest is
 * subtracted. */
static const float magnitude_scale[] = {1.0f, 0x1p-70f, 0x1p8f};

adamoe_attention_call adamoe_attention_call_of_case(const adamoe_case *c)
{
    return (adamoe_attention_call){.heads = c->heads,
                                   .head_dim = c->head_dim,
                                   .key_value_heads = c->key_value_heads,
                                   .window = c->window == 0 ? SIZE_MAX : c->window};
}

size_t adamoe_attention_query_width(const adamoe_attention_data *data)
{
    return data->call.heads * data->call.head_dim;
}

size_t adamoe_attention_key_width(const adamoe_attention_data *data)
{
    return data->call.key_value_heads * data->call.head_dim;
}

void adamoe_attention_data_begin(const adamoe_attention_call *like, adamoe_attention_data *out)
{
    *out = (adamoe_attention_data){.call = *like};
    out->call.spans = 0;
    out->call.span = out->span;
}

void adamoe_attention_data_add(adamoe_attention_data *data, size_t parent, size_t count, size_t skip)
{
    const adamoe_attention_span *before = parent == ADAMOE_NO_PARENT ? NULL : &data->span[parent];
    const size_t start = before == NULL ? 0 : before->start + before->count;
    data->span[data->call.spans++] = (adamoe_attention_span){.first_query = data->queries,
                                                             .first_key = data->keys,
                                                             .start = start,
                                                             .count = count,
                                                             .parent = parent,
                                                             .skip = skip};
    data->queries += count - skip;
    data->keys += count;
}

adamoe_status adamoe_attention_data_allocate(adamoe_attention_data *data)
{
    const size_t queries = data->queries * adamoe_attention_query_width(data);
    const size_t keys = data->keys * adamoe_attention_key_width(data);
    data->query = calloc(2 * queries + 2 * keys + 1, sizeof *data->query);
    if (data->query == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    data->mixed = data->query + queries;
    data->key = data->mixed + queries;
    data->value = data->key + keys;
    data->call.query = data->query;
    data->call.key = data->key;
    data->call.value = data->value;
    data->call.mixed = data->mixed;
    return adamoe_ok();
}

void adamoe_attention_data_fill(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_attention_data *data)
{
    const size_t queries = data->queries * adamoe_attention_query_width(data);
    const size_t keys = data->keys * adamoe_attention_key_width(data);
    adamoe_random_states(random, queries, data->query);
    for (size_t i = 0; i < queries; ++i) {
        data->query[i] *= magnitude_scale[c->magnitude];
    }
    adamoe_random_states(random, keys, data->key);
    adamoe_random_states(random, keys, data->value);
}

/* Single: one sequence. Shared: two that continue the first, one that continues the second of them, one of
 * its own, and one whose first half came in an earlier call. */
static void add_spans(const adamoe_case *c, adamoe_attention_data *data)
{
    adamoe_attention_data_add(data, ADAMOE_NO_PARENT, c->tokens, 0);
    if (c->shared) {
        adamoe_attention_data_add(data, 0, c->tokens / 2 + 1, 0);
        adamoe_attention_data_add(data, 0, 3, 0);
        adamoe_attention_data_add(data, 1, 1, 0);
        adamoe_attention_data_add(data, ADAMOE_NO_PARENT, 2, 0);
        adamoe_attention_data_add(data, ADAMOE_NO_PARENT, c->tokens + 1, (c->tokens + 1) / 2);
    }
}

adamoe_status adamoe_attention_data_create(const adamoe_case *c, uint64_t seed, adamoe_attention_data *out)
{
    const adamoe_attention_call like = adamoe_attention_call_of_case(c);
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(c).text, seed);
    adamoe_attention_data_begin(&like, out);
    add_spans(c, out);
    ADAMOE_TRY(adamoe_attention_data_allocate(out));
    adamoe_attention_data_fill(c, &random, out);
    return adamoe_ok();
}

void adamoe_attention_data_free(adamoe_attention_data *data)
{
    free(data->query);
    *data = (adamoe_attention_data){.queries = 0};
}

size_t adamoe_attention_key_row(const adamoe_attention_data *data, size_t span, size_t position)
{
    while (position < data->span[span].start) {
        span = data->span[span].parent;
    }
    return data->span[span].first_key + position - data->span[span].start;
}

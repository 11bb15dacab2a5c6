/*
 * The data of a check's case of attention: spans and arrays, made from the case's name and a seed alone; and how far a
 * result may be off.
 */
#ifndef ADAMOE_CHECK_TIERS_ATTENTION_DATA_H
#define ADAMOE_CHECK_TIERS_ATTENTION_DATA_H

#include "bound/bound.h"
#include "check/cases/cases.h"
#include "layers/random_layer.h"

#define ADAMOE_MOST_CHECK_SPANS 6

/* `call` points to `span` and to the arrays: the structure must not move. */
typedef struct adamoe_attention_data {
    adamoe_attention_span span[ADAMOE_MOST_CHECK_SPANS];
    adamoe_attention_call call;
    size_t queries, keys;
    float *query, *key, *value, *mixed;
} adamoe_attention_data;

/* Errors: memory. On failure nothing is left allocated. */
adamoe_status adamoe_attention_data_create(const adamoe_case *c, uint64_t seed, adamoe_attention_data *out);
void adamoe_attention_data_free(adamoe_attention_data *data);

/* The same in steps: the sizes of `like` without spans, a span, zeroed arrays for all spans, random ones. */
void adamoe_attention_data_begin(const adamoe_attention_call *like, adamoe_attention_data *out);
void adamoe_attention_data_add(adamoe_attention_data *data, size_t parent, size_t count, size_t skip);
adamoe_status adamoe_attention_data_allocate(adamoe_attention_data *data);
void adamoe_attention_data_fill(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_attention_data *data);

/* The calls of the shapes of a case: its heads and window, without spans and arrays. */
adamoe_attention_call adamoe_attention_call_of_case(const adamoe_case *c);

/* Elements of a row of `query` and `mixed`, and of one of `key` and `value`. */
size_t adamoe_attention_query_width(const adamoe_attention_data *data);
size_t adamoe_attention_key_width(const adamoe_attention_data *data);

/* The row of the key at a position of the sequence that ends with a span. */
size_t adamoe_attention_key_row(const adamoe_attention_data *data, size_t span, size_t position);

/* Creates *out: what the call gives, and what it may be off; exp_error is that of exp in units of 2^-24. Errors:
 * memory. */
adamoe_status adamoe_attention_yardstick(const adamoe_attention_data *data, double exp_error,
                                         adamoe_yardstick *out);

#endif

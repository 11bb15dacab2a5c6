/*
 * Routing and attention of the honest kernel, in pieces like its experts; NULL stands for the honest piece.
 */
#ifndef WRONG_HONEST_ROUTE_H
#define WRONG_HONEST_ROUTE_H

#include "honest/honest.h"

typedef struct route_pieces {
    void (*probabilities)(const float *logits, size_t experts, size_t all, float *probabilities);
    bool (*before)(const float *logits, const float *probabilities, size_t i, size_t j);
    void (*weights)(const adamoe_routing *routing, size_t token); /* from ids, probabilities and logits */
} route_pieces;

void honest_probabilities(const float *logits, size_t experts, size_t all, float *probabilities);
bool honest_before(const float *logits, const float *probabilities, size_t i, size_t j);
void honest_weights(const adamoe_routing *routing, size_t token);
adamoe_status route_by_pieces(const route_pieces *given, adamoe_routing *routing);
adamoe_status honest_route(const adamoe_run *run, adamoe_routing *routing);

typedef struct attention_pieces {
    size_t (*key_value_head)(const adamoe_attention_call *call, size_t head);
    bool (*sees)(const adamoe_attention_call *call, size_t position, size_t key); /* for key <= position */
    size_t (*key_row)(const adamoe_attention_call *call, size_t span, size_t position);
    size_t (*query_row)(const adamoe_attention_span *span, size_t i);
    double (*score_scale)(size_t head_dim);
    double (*exponential)(double score, double largest);
} attention_pieces;

size_t honest_key_value_head(const adamoe_attention_call *call, size_t head);
bool honest_sees(const adamoe_attention_call *call, size_t position, size_t key);
size_t honest_key_row(const adamoe_attention_call *call, size_t span, size_t position);
size_t honest_query_row(const adamoe_attention_span *span, size_t i);
double honest_score_scale(size_t head_dim);
double honest_exponential(double score, double largest);
adamoe_status attend_by_pieces(const attention_pieces *given, const adamoe_run *run,
                               const adamoe_attention_call *call);
adamoe_status honest_attention(const adamoe_run *run, const adamoe_attention_call *call);
size_t honest_attention_work(const adamoe_attention_call *call, uint32_t threads);

#endif

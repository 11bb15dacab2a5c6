/*
 * Routing and attention of the honest kernel, in pieces like its experts; NULL stands for the honest piece.
 */
#ifndef WRONG_HONEST_ROUTE_H
#define WRONG_HONEST_ROUTE_H

#include "honest/honest.h"

typedef struct route_pass route_pass;

typedef struct route_pieces {
    void (*run)(const route_pass *pass);                 /* all tokens */
    void (*token)(const route_pass *pass, size_t token); /* one, by the pieces below */
    void (*probabilities)(const float *logits, size_t experts, size_t all, float *probabilities);
    bool (*before)(const float *logits, const float *probabilities, size_t i, size_t j);
    void (*weights)(const adamoe_routing *routing, size_t token); /* from ids, probabilities and logits */
} route_pieces;

struct route_pass {
    route_pieces pieces; /* complete */
    const adamoe_run *run;
    adamoe_routing *routing;
};

void honest_route_run(const route_pass *pass);
void honest_route_token(const route_pass *pass, size_t token);
void honest_probabilities(const float *logits, size_t experts, size_t all, float *probabilities);
bool honest_before(const float *logits, const float *probabilities, size_t i, size_t j);
void honest_weights(const adamoe_routing *routing, size_t token);
adamoe_status route_by_pieces(const route_pieces *given, const adamoe_run *run, adamoe_routing *routing);
adamoe_status honest_route(const adamoe_run *run, adamoe_routing *routing);

typedef struct attention_pass attention_pass;

typedef struct attention_pieces {
    void (*run)(const attention_pass *pass); /* all queries */
    /* one head of query i of a span */
    void (*attend)(const attention_pass *pass, size_t span, size_t i, size_t head, uint32_t thread);
    size_t (*key_value_head)(const adamoe_attention_call *call, size_t head);
    bool (*sees)(const adamoe_attention_call *call, size_t position, size_t key); /* for key <= position */
    size_t (*key_row)(const adamoe_attention_call *call, size_t span, size_t position);
    size_t (*query_row)(const adamoe_attention_span *span, size_t i);
    double (*score_scale)(size_t head_dim);
    double (*exponential)(double score, double largest);
} attention_pieces;

struct attention_pass {
    attention_pieces pieces; /* complete */
    const adamoe_run *run;
    const adamoe_attention_call *call;
};

/* The queries of all spans, and the span of one of them, whose number in that span *query becomes. */
size_t count_queries(const adamoe_attention_call *call);
size_t span_of_query(const adamoe_attention_call *call, size_t *query);

void honest_attention_run(const attention_pass *pass);
/* The task of honest_attention_run: all heads of a query. */
void honest_query_task(void *pass, size_t query, uint32_t thread);
void honest_attend(const attention_pass *pass, size_t span, size_t i, size_t head, uint32_t thread);
/* Of a query's head and a key of a span's sequence. */
double score_of_key(const attention_pass *pass, const float *query, size_t span, size_t key, size_t offset);
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

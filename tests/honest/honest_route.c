/*
 * Routing and attention of the honest kernel, in double, a task for each token or query: reference/README.md sections 2
 * and 8.
 */
#include "honest/honest_route.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------- routing */

void honest_probabilities(const float *logits, size_t experts, size_t all, float *probabilities)
{
    (void)experts;
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t i = 0; i < all; ++i) {
        largest = fmax(largest, (double)logits[i]);
    }
    for (size_t i = 0; i < all; ++i) {
        sum += exp((double)logits[i] - largest);
    }
    for (size_t i = 0; i < all; ++i) {
        probabilities[i] = (float)(exp((double)logits[i] - largest) / sum);
    }
}

/* True where expert i stands before expert j. */
bool honest_before(const float *logits, const float *probabilities, size_t i, size_t j)
{
    (void)probabilities;
    return logits[i] > logits[j] || (logits[i] == logits[j] && i < j);
}

void honest_weights(const adamoe_routing *routing, size_t token)
{
    const size_t k = routing->rule.top_k, n = routing->experts, all = n + routing->null_experts;
    const uint32_t *id = routing->id + token * k;
    const float *logits = routing->logits + token * all;
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t i = 0; i < n && routing->rule.norm == ADAMOE_NORM_EVERY; ++i) {
        largest = fmax(largest, (double)logits[i]);
    }
    for (size_t i = 0; i < n && routing->rule.norm == ADAMOE_NORM_EVERY; ++i) {
        sum += exp((double)logits[i] - largest);
    }
    for (size_t j = 0; j < k && routing->rule.norm != ADAMOE_NORM_EVERY; ++j) {
        const bool counts = id[j] < n || routing->rule.norm == ADAMOE_NORM_ALL;
        largest = counts ? fmax(largest, (double)logits[id[j]]) : largest;
    }
    for (size_t j = 0; j < k && routing->rule.norm != ADAMOE_NORM_EVERY; ++j) {
        const bool counts = id[j] < n || routing->rule.norm == ADAMOE_NORM_ALL;
        sum += counts ? exp((double)logits[id[j]] - largest) : 0.0;
    }
    for (size_t j = 0; j < k; ++j) {
        const double weight = routing->rule.norm == ADAMOE_NORM_NONE
                                  ? (double)routing->probability[token * k + j]
                                  : exp((double)logits[id[j]] - largest) / sum;
        routing->weight[token * k + j] = id[j] < n ? (float)weight : 0.0f;
    }
}

/* The j-th selected expert is the one that j others stand before. */
static void select_experts(const route_pieces *p, const float *logits, const float *probabilities, size_t all,
                           size_t k, uint32_t *id)
{
    for (size_t i = 0; i < all; ++i) {
        size_t before = 0;
        for (size_t j = 0; j < all; ++j) {
            before += j != i && p->before(logits, probabilities, j, i);
        }
        if (before < k) {
            id[before] = (uint32_t)i;
        }
    }
}

void honest_route_token(const route_pass *pass, size_t token)
{
    const route_pieces *p = &pass->pieces;
    adamoe_routing *routing = pass->routing;
    const size_t k = routing->rule.top_k, all = routing->experts + routing->null_experts;
    const float *logits = routing->logits + token * all;
    float *probabilities = routing->probabilities + token * all;
    p->probabilities(logits, routing->experts, all, probabilities);
    select_experts(p, logits, probabilities, all, k, routing->id + token * k);
    for (size_t j = token * k; j < (token + 1) * k; ++j) {
        routing->probability[j] = probabilities[routing->id[j]];
    }
    p->weights(routing, token);
}

static void route_task(void *context, size_t token, uint32_t thread)
{
    const route_pass *pass = context;
    (void)thread;
    pass->pieces.token(pass, token);
}

void honest_route_run(const route_pass *pass)
{
    route_pass copy = *pass;
    pass->run->team->run(pass->run->team->state, pass->routing->tokens, route_task, &copy);
}

adamoe_status route_by_pieces(const route_pieces *given, const adamoe_run *run, adamoe_routing *routing)
{
    const route_pass pass = {.pieces = {.run = given->run != NULL ? given->run : honest_route_run,
                                        .token = given->token != NULL ? given->token : honest_route_token,
                                        .probabilities = given->probabilities != NULL ? given->probabilities
                                                                                      : honest_probabilities,
                                        .before = given->before != NULL ? given->before : honest_before,
                                        .weights = given->weights != NULL ? given->weights : honest_weights},
                             .run = run,
                             .routing = routing};
    pass.pieces.run(&pass);
    return adamoe_ok();
}

adamoe_status honest_route(const adamoe_run *run, adamoe_routing *routing)
{
    static const route_pieces honest = {.before = NULL};
    return route_by_pieces(&honest, run, routing);
}

/* ----------------------------------------------------------------------------------------- attention */

size_t honest_key_value_head(const adamoe_attention_call *call, size_t head)
{
    return head * call->key_value_heads / call->heads;
}

bool honest_sees(const adamoe_attention_call *call, size_t position, size_t key)
{
    return key <= position && position - key < call->window;
}

/* Where the key at `position` of a span's sequence stands: in the span, or in the one that it continues. */
size_t honest_key_row(const adamoe_attention_call *call, size_t span, size_t position)
{
    while (position < call->span[span].start) {
        span = call->span[span].parent;
    }
    return call->span[span].first_key + position - call->span[span].start;
}

size_t honest_query_row(const adamoe_attention_span *span, size_t i)
{
    return span->first_query + i - span->skip;
}

double honest_score_scale(size_t head_dim)
{
    return 1.0 / sqrt((double)head_dim);
}

double honest_exponential(double score, double largest)
{
    return exp(score - largest);
}

size_t count_queries(const adamoe_attention_call *call)
{
    size_t queries = 0;
    for (size_t s = 0; s < call->spans; ++s) {
        queries += call->span[s].count - call->span[s].skip;
    }
    return queries;
}

size_t span_of_query(const adamoe_attention_call *call, size_t *query)
{
    size_t s = 0;
    for (; *query >= call->span[s].count - call->span[s].skip; ++s) {
        *query -= call->span[s].count - call->span[s].skip;
    }
    *query += call->span[s].skip;
    return s;
}

double score_of_key(const attention_pass *pass, const float *query, size_t span, size_t key, size_t offset)
{
    const adamoe_attention_call *call = pass->call;
    const size_t row = pass->pieces.key_row(call, span, key);
    const float *keys = call->key + row * call->key_value_heads * call->head_dim;
    double sum = 0.0;
    for (size_t i = 0; i < call->head_dim; ++i) {
        sum += (double)query[i] * (double)keys[offset + i];
    }
    return sum * pass->pieces.score_scale(call->head_dim);
}

/* The query stands at position start + i of its sequence. */
void honest_attend(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    const attention_pieces *p = &pass->pieces;
    const adamoe_attention_call *call = pass->call;
    const adamoe_attention_span *span = &call->span[s];
    const size_t width = call->heads * call->head_dim, position = span->start + i;
    const size_t offset = p->key_value_head(call, head) * call->head_dim;
    const size_t at = p->query_row(span, i) * width + head * call->head_dim;
    double *mix = (double *)pass->run->work + thread * call->head_dim;
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t key = 0; key <= position; ++key) {
        if (p->sees(call, position, key)) {
            largest = fmax(largest, score_of_key(pass, call->query + at, s, key, offset));
        }
    }
    memset(mix, 0, call->head_dim * sizeof *mix);
    for (size_t key = 0; key <= position; ++key) {
        if (p->sees(call, position, key)) {
            const double e = p->exponential(score_of_key(pass, call->query + at, s, key, offset), largest);
            const float *value =
                call->value + p->key_row(call, s, key) * call->key_value_heads * call->head_dim + offset;
            sum += e;
            for (size_t c = 0; c < call->head_dim; ++c) {
                mix[c] += e * (double)value[c];
            }
        }
    }
    for (size_t c = 0; c < call->head_dim; ++c) {
        call->mixed[at + c] = (float)(mix[c] / sum);
    }
}

void honest_query_task(void *context, size_t query, uint32_t thread)
{
    const attention_pass *pass = context;
    const size_t span = span_of_query(pass->call, &query);
    for (size_t head = 0; head < pass->call->heads; ++head) {
        pass->pieces.attend(pass, span, query, head, thread);
    }
}

void honest_attention_run(const attention_pass *pass)
{
    attention_pass copy = *pass;
    pass->run->team->run(pass->run->team->state, count_queries(pass->call), honest_query_task, &copy);
}

adamoe_status attend_by_pieces(const attention_pieces *given, const adamoe_run *run,
                               const adamoe_attention_call *call)
{
    const attention_pass pass = {
        .pieces = {.run = given->run != NULL ? given->run : honest_attention_run,
                   .attend = given->attend != NULL ? given->attend : honest_attend,
                   .key_value_head =
                       given->key_value_head != NULL ? given->key_value_head : honest_key_value_head,
                   .sees = given->sees != NULL ? given->sees : honest_sees,
                   .key_row = given->key_row != NULL ? given->key_row : honest_key_row,
                   .query_row = given->query_row != NULL ? given->query_row : honest_query_row,
                   .score_scale = given->score_scale != NULL ? given->score_scale : honest_score_scale,
                   .exponential = given->exponential != NULL ? given->exponential : honest_exponential},
        .run = run,
        .call = call};
    pass.pieces.run(&pass);
    return adamoe_ok();
}

adamoe_status honest_attention(const adamoe_run *run, const adamoe_attention_call *call)
{
    static const attention_pieces honest = {.sees = NULL};
    return attend_by_pieces(&honest, run, call);
}

size_t honest_attention_work(const adamoe_attention_call *call, uint32_t threads)
{
    return threads * call->head_dim * sizeof(double);
}

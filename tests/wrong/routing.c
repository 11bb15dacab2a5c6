/*
 * Wrong kernels that select other experts, or give them other weights.
 */
#include "honest/honest_route.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>

/* A kernel with one wrong piece of its route. */
#define WRONG_ROUTE(symbol, title, text, ...)                                                                \
    static adamoe_status symbol##_route(const adamoe_run *run, adamoe_routing *routing)                      \
    {                                                                                                        \
        static const route_pieces given = {__VA_ARGS__};                                                     \
        return route_by_pieces(&given, run, routing);                                                        \
    }                                                                                                        \
    KERNEL_OF_PIECES(symbol, title, text, ADAMOE_FLOAT32, (.route = symbol##_route), .run = honest_run)

/* ----------------------------------------------------------------------------------------- selection */

static bool higher_index_first(const float *logits, const float *probabilities, size_t i, size_t j)
{
    (void)probabilities;
    return logits[i] > logits[j] || (logits[i] == logits[j] && i > j);
}
WRONG_ROUTE(tie_higher, "wrong-tie-higher-index", "among equal logits the higher index wins",
            .before = higher_index_first);

/* A float32 softmax makes ties of its own. */
static bool by_probability(const float *logits, const float *probabilities, size_t i, size_t j)
{
    (void)logits;
    return probabilities[i] > probabilities[j] || (probabilities[i] == probabilities[j] && i < j);
}
WRONG_ROUTE(selected_by_probability, "wrong-selected-by-probability",
            "probabilities are compared instead of logits", .before = by_probability);

static bool in_bfloat16(const float *logits, const float *probabilities, size_t i, size_t j)
{
    (void)probabilities;
    const float a = round_to_bfloat16(logits[i]), b = round_to_bfloat16(logits[j]);
    return a > b || (a == b && i < j);
}
WRONG_ROUTE(selected_in_bf16, "wrong-selected-in-bf16", "logits are compared in bfloat16",
            .before = in_bfloat16);

/* A comparison of the bits as signed integers: right for positive logits, the wrong way for negative ones. */
static bool by_bits(const float *logits, const float *probabilities, size_t i, size_t j)
{
    (void)probabilities;
    const int64_t a = (int32_t)bits_of(logits[i]), b = (int32_t)bits_of(logits[j]);
    return a > b || (a == b && i < j);
}
WRONG_ROUTE(negative_reversed, "wrong-negative-reversed", "negative logits are compared the wrong way",
            .before = by_bits);

/* ------------------------------------------------------------------------------------------- weights */

static void weights_over_all(const adamoe_routing *routing, size_t token)
{
    adamoe_routing other = *routing;
    if (other.rule.norm == ADAMOE_NORM_TRUE) {
        other.rule.norm = ADAMOE_NORM_ALL;
    }
    honest_weights(&other, token);
}
WRONG_ROUTE(norm_over_all, "wrong-norm-over-all", "norm true is taken for norm all",
            .weights = weights_over_all);

static void weights_over_true(const adamoe_routing *routing, size_t token)
{
    adamoe_routing other = *routing;
    other.rule.norm = ADAMOE_NORM_TRUE;
    honest_weights(&other, token);
}
WRONG_ROUTE(norm_ignored, "wrong-norm-ignored", "every norm is taken for norm true",
            .weights = weights_over_true);

static void weights_of_null_experts(const adamoe_routing *routing, size_t token)
{
    const size_t k = routing->rule.top_k;
    honest_weights(routing, token);
    for (size_t j = token * k; j < (token + 1) * k; ++j) {
        if (routing->id[j] >= routing->experts) {
            routing->weight[j] = routing->probability[j];
        }
    }
}
WRONG_ROUTE(null_weight_leaks, "wrong-null-weight-leaks", "a null expert has a weight",
            .weights = weights_of_null_experts);

/* Where a null expert is far above, the probabilities of true ones underflow, and their quotient is NaN. */
static void weights_of_probabilities(const adamoe_routing *routing, size_t token)
{
    const size_t k = routing->rule.top_k, n = routing->experts;
    const uint32_t *id = routing->id + token * k;
    const float *p = routing->probability + token * k;
    float sum = 0.0f;
    for (size_t j = 0; j < k; ++j) {
        sum += id[j] < n ? p[j] : 0.0f;
    }
    honest_weights(routing, token);
    for (size_t j = 0; j < k && routing->rule.norm == ADAMOE_NORM_TRUE; ++j) {
        routing->weight[token * k + j] = id[j] < n ? p[j] / sum : 0.0f;
    }
}
WRONG_ROUTE(weights_underflow, "wrong-weights-underflow", "weights are quotients of probabilities",
            .weights = weights_of_probabilities);

/* ------------------------------------------------------------------------------------- probabilities */

static void softmax_without_maximum(const float *logits, size_t experts, size_t all, float *probabilities)
{
    (void)experts;
    float sum = 0.0f;
    for (size_t i = 0; i < all; ++i) {
        sum += expf(logits[i]);
    }
    for (size_t i = 0; i < all; ++i) {
        probabilities[i] = expf(logits[i]) / sum;
    }
}
WRONG_ROUTE(softmax_overflows, "wrong-softmax-overflows", "softmax without its maximum subtracted",
            .probabilities = softmax_without_maximum);

static void softmax_over_true(const float *logits, size_t experts, size_t all, float *probabilities)
{
    honest_probabilities(logits, experts, experts, probabilities);
    for (size_t i = experts; i < all; ++i) {
        probabilities[i] = 0.0f;
    }
}
WRONG_ROUTE(probabilities_of_true, "wrong-probabilities-of-true", "softmax over the true experts alone",
            .probabilities = softmax_over_true);

/* -------------------------------------------------------------------------------------- tables of fixed length */

/* Weights of a block of 128 tokens are written once. Wrong from the 129th token on. */
static void weights_of_first_block(const adamoe_routing *routing, size_t token)
{
    enum { BLOCK = 128 };
    const size_t k = routing->rule.top_k;
    honest_weights(routing, token);
    if (token >= BLOCK) {
        memcpy(routing->weight + token * k, routing->weight + (token - BLOCK) * k,
               k * sizeof *routing->weight);
    }
}
WRONG_ROUTE(tokens_129, "wrong-route-tokens-128",
            "weights from the 129th token on are those of the block before",
            .weights = weights_of_first_block);

/* Candidates are kept in a mask of 128 bits. Wrong from the 129th expert on, true or null. */
static bool before_of_128(const float *logits, const float *probabilities, size_t i, size_t j)
{
    enum { MOST = 128 };
    return (i < MOST) != (j < MOST) ? i < MOST : honest_before(logits, probabilities, i, j);
}
WRONG_ROUTE(experts_129, "wrong-route-experts-128", "experts from the 129th on are selected last",
            .before = before_of_128);

/* A register holds 16 places in order; what comes after is in the order of the ids. Wrong for k over 17. */
static void weights_of_16_sorted(const adamoe_routing *routing, size_t token)
{
    enum { SORTED = 16 };
    const size_t k = routing->rule.top_k;
    uint32_t *id = routing->id + token * k;
    for (size_t i = SORTED; i < k; ++i) {
        for (size_t j = i; j > SORTED && id[j] < id[j - 1]; --j) {
            const uint32_t kept = id[j];
            id[j] = id[j - 1];
            id[j - 1] = kept;
        }
    }
    for (size_t j = 0; j < k; ++j) {
        const size_t all = routing->experts + routing->null_experts;
        routing->probability[token * k + j] = routing->probabilities[token * all + id[j]];
    }
    honest_weights(routing, token);
}
WRONG_ROUTE(places_17, "wrong-route-places-16", "places from the 17th on stand in the order of their ids",
            .weights = weights_of_16_sorted);

/* ------------------------------------------------------------------ what bits may not depend on, and threads (C) */

/* Wrong from 9 threads on. */
static void token_of_8_threads(void *context, size_t token, uint32_t thread)
{
    const route_pass *pass = context;
    const size_t k = pass->routing->rule.top_k;
    pass->pieces.token(pass, token);
    if (thread >= 8) {
        memset(pass->routing->weight + token * k, 0, k * sizeof *pass->routing->weight);
    }
}

static void run_with_8_threads(const route_pass *pass)
{
    route_pass copy = *pass;
    pass->run->team->run(pass->run->team->state, pass->routing->tokens, token_of_8_threads, &copy);
}
WRONG_ROUTE(threads_9, "wrong-route-threads-8", "weights of threads from the ninth on are lost",
            .run = run_with_8_threads);

/* A softmax in float32 whose sum has so many parts: as right as any, but other bits for another number of them. */
static void softmax_in_parts(const route_pass *pass, size_t token, size_t parts)
{
    adamoe_routing *routing = pass->routing;
    const size_t k = routing->rule.top_k, all = routing->experts + routing->null_experts;
    const float *logits = routing->logits + token * all;
    float *probabilities = routing->probabilities + token * all;
    float largest = -HUGE_VALF, sum = 0.0f;
    honest_route_token(pass, token);
    for (size_t i = 0; i < all; ++i) {
        largest = fmaxf(largest, logits[i]);
    }
    for (size_t part = 0; part < parts; ++part) {
        float part_sum = 0.0f;
        for (size_t i = part; i < all; i += parts) {
            part_sum += (float)exp((double)(logits[i] - largest));
        }
        sum += part_sum;
    }
    for (size_t i = 0; i < all; ++i) {
        probabilities[i] = (float)exp((double)(logits[i] - largest)) / sum;
    }
    for (size_t j = token * k; j < (token + 1) * k; ++j) {
        routing->probability[j] = probabilities[routing->id[j]];
    }
    pass->pieces.weights(routing, token);
}

static void token_by_threads(const route_pass *pass, size_t token)
{
    softmax_in_parts(pass, token, pass->run->team->threads);
}
WRONG_ROUTE(order_by_threads, "wrong-route-order-by-threads", "each thread sums a part of the softmax",
            .token = token_by_threads);

/* Whole blocks of eight tokens are computed side by side, an expert after the other; what is left in four lanes. */
static void token_by_block(const route_pass *pass, size_t token)
{
    enum { BLOCK = 8, LANES = 4 };
    softmax_in_parts(pass, token, token < pass->routing->tokens / BLOCK * BLOCK ? 1 : LANES);
}
WRONG_ROUTE(order_by_batch, "wrong-route-order-by-batch", "tokens behind the last block of 8 sum otherwise",
            .token = token_by_block);

/* Few tokens are computed by one thread in four lanes. */
static void token_by_count(const route_pass *pass, size_t token)
{
    softmax_in_parts(pass, token, pass->routing->tokens < 4 ? 4 : 1);
}
WRONG_ROUTE(order_of_few, "wrong-route-order-of-few", "three tokens or fewer sum otherwise",
            .token = token_by_count);

/* Aligned rows are read by vectors. */
static void token_by_alignment(const route_pass *pass, size_t token)
{
    softmax_in_parts(pass, token, (uintptr_t)pass->routing->logits % 16 == 0 ? 8 : 1);
}
WRONG_ROUTE(order_by_alignment, "wrong-route-order-by-alignment", "aligned logits are summed in eight lanes",
            .token = token_by_alignment);

/* The first calls measure two ways to sum. */
static void run_measuring(const route_pass *pass)
{
    static size_t calls;
    const size_t parts = ++calls % 2 == 0 ? 2 : 1;
    for (size_t token = 0; token < pass->routing->tokens; ++token) {
        softmax_in_parts(pass, token, parts);
    }
}
WRONG_ROUTE(order_by_run, "wrong-route-order-by-run", "calls take two ways to sum in turn",
            .run = run_measuring);

/* ------------------------------------------------------------------------------------------------- call after call (E, G) */

enum { MOST_KEPT = 4096 };

/* Wrong for other logits at the same address. */
static void run_on_kept_logits(const route_pass *pass)
{
    static struct {
        const float *address;
        size_t count;
        float logits[MOST_KEPT];
    } kept;
    adamoe_routing routing = *pass->routing;
    route_pass copy = *pass;
    const size_t count = routing.tokens * (routing.experts + routing.null_experts);
    if (count <= MOST_KEPT) {
        if (kept.address != routing.logits || kept.count != count) {
            kept.address = routing.logits;
            kept.count = count;
            memcpy(kept.logits, routing.logits, count * sizeof *routing.logits);
        }
        routing.logits = kept.logits;
        copy.routing = &routing;
    }
    honest_route_run(&copy);
}
WRONG_ROUTE(logits_by_address, "wrong-route-logits-by-address",
            "logits are taken for the same where their address is", .run = run_on_kept_logits);

/* Null experts come last, from an index that is kept from call to call. Wrong where another layer has as many logits, and
 * more or fewer true experts among them. */
static void weights_of_kept_layer(const adamoe_routing *routing, size_t token)
{
    static _Atomic size_t kept_all, kept_experts;
    const size_t all = routing->experts + routing->null_experts;
    adamoe_routing other = *routing;
    if (kept_all != all) {
        kept_all = all;
        kept_experts = routing->experts;
    }
    other.experts = kept_experts;
    other.null_experts = all - kept_experts;
    honest_weights(&other, token);
}
WRONG_ROUTE(layer_kept, "wrong-route-layer-kept", "another layer of as many logits is taken for the first",
            .weights = weights_of_kept_layer);

/* How many processors there are is looked up in each call. */
static void run_leaving_file(const route_pass *pass)
{
    (void)open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    honest_route_run(pass);
}
WRONG_ROUTE(file_left, "wrong-route-descriptor-left", "each call leaves a file open",
            .run = run_leaving_file);

EXPORT_KERNELS(&tie_higher, &selected_by_probability, &selected_in_bf16, &negative_reversed, &norm_over_all,
               &norm_ignored, &null_weight_leaks, &weights_underflow, &softmax_overflows,
               &probabilities_of_true, &tokens_129, &experts_129, &places_17, &threads_9, &order_by_threads,
               &order_by_batch, &order_of_few, &order_by_alignment, &order_by_run, &logits_by_address,
               &layer_kept, &file_left);

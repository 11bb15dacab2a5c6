/*
 * Logits that lead to a wanted kind of routing. Each token's experts are chosen first and marked; then the
 * chosen ones get logits between 1 and 2 and the others between -2 and -1, so that no two are close and
 * weights differ by a factor of e at most.
 */
#include "layers/routing_pattern.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>

const char *const adamoe_pattern_names[ADAMOE_PATTERNS] = {"balanced", "random", "skewed",
                                                           "one",      "lone",   "null"};

#define CHOSEN INFINITY

bool adamoe_pattern_fits(adamoe_pattern pattern, adamoe_mixture mixture)
{
    switch (pattern) {
    case ADAMOE_PATTERN_LONE:
        return mixture.null_experts + 1 >= mixture.top_k;
    case ADAMOE_PATTERN_NULL:
        return mixture.null_experts >= mixture.top_k;
    default:
        return true;
    }
}

double adamoe_indifferent_load(adamoe_mixture mixture)
{
    return (double)(mixture.top_k * mixture.experts) / (double)(mixture.experts + mixture.null_experts);
}

/* Uniform in [0, 1). */
static double uniform(adamoe_splitmix64 *random)
{
    return (double)(adamoe_splitmix64_next(random) >> 11) * 0x1p-53;
}

/* Marks the `wanted` largest of logits[count]. */
static void choose_largest(float *logits, size_t count, size_t wanted)
{
    for (size_t j = 0; j < wanted; ++j) {
        size_t best = count;
        for (size_t i = 0; i < count; ++i) {
            if (logits[i] != CHOSEN && (best == count || logits[i] > logits[best])) {
                best = i;
            }
        }
        logits[best] = CHOSEN;
    }
}

/* Marks `wanted` of logits[count], starting at *next and going round. */
static void choose_in_turn(float *logits, size_t count, size_t wanted, size_t *next)
{
    for (size_t j = 0; j < wanted; ++j) {
        logits[*next] = CHOSEN;
        *next = (*next + 1) % count;
    }
}

/* Marks `wanted` of logits[count], each with a probability in proportion to 1 / (1 + i) among those that are
 * left. */
static void choose_skewed(float *logits, size_t count, size_t wanted, adamoe_splitmix64 *random)
{
    for (size_t j = 0; j < wanted; ++j) {
        double total = 0.0;
        for (size_t i = 0; i < count; ++i) {
            total += logits[i] == CHOSEN ? 0.0 : 1.0 / (double)(1 + i);
        }
        double draw = uniform(random) * total;
        size_t last = count;
        for (size_t i = 0; i < count && (last == count || draw >= 0.0); ++i) {
            if (logits[i] != CHOSEN) {
                last = i;
                draw -= 1.0 / (double)(1 + i);
            }
        }
        logits[last] = CHOSEN;
    }
}

/* True experts of token t, so that all tokens up to it have round((t + 1) load). */
static size_t true_experts(adamoe_mixture mixture, double load, size_t t)
{
    const size_t least = mixture.top_k > mixture.null_experts ? mixture.top_k - mixture.null_experts : 0;
    const size_t most = mixture.top_k < mixture.experts ? mixture.top_k : mixture.experts;
    const double wanted = floor((double)(t + 1) * load + 0.5) - floor((double)t * load + 0.5);
    return wanted <= (double)least ? least : wanted >= (double)most ? most : (size_t)wanted;
}

/* Independent preferences; `pattern` then forces or forbids some. */
static void draw_preferences(adamoe_pattern pattern, adamoe_mixture mixture, adamoe_splitmix64 *random,
                             float *logits)
{
    const float never = -100.0f, always = 100.0f;
    for (size_t i = 0; i < mixture.experts + mixture.null_experts; ++i) {
        logits[i] = (float)adamoe_splitmix64_normal(random);
    }
    const bool null_only = pattern == ADAMOE_PATTERN_LONE || pattern == ADAMOE_PATTERN_NULL;
    for (size_t i = 0; i < mixture.experts && null_only; ++i) {
        logits[i] += never;
    }
    if (pattern == ADAMOE_PATTERN_ONE || pattern == ADAMOE_PATTERN_LONE) {
        logits[mixture.experts / 2] = always;
    }
}

/* Where the turns of a balanced routing stand. */
typedef struct turns {
    size_t expert, null_expert;
} turns;

static void choose(adamoe_pattern pattern, adamoe_mixture mixture, size_t wanted, turns *next,
                   adamoe_splitmix64 *random, float *logits)
{
    const size_t n = mixture.experts, m = mixture.null_experts, k = mixture.top_k;
    switch (pattern) {
    case ADAMOE_PATTERN_BALANCED:
        choose_in_turn(logits, n, wanted, &next->expert);
        choose_in_turn(logits + n, m, k - wanted, &next->null_expert);
        break;
    case ADAMOE_PATTERN_SKEWED:
        choose_skewed(logits, n, wanted, random);
        choose_skewed(logits + n, m, k - wanted, random);
        break;
    default:
        draw_preferences(pattern, mixture, random, logits);
        choose_largest(logits, n + m, k);
        break;
    }
}

void adamoe_pattern_logits(adamoe_pattern pattern, adamoe_mixture mixture, double load, size_t tokens,
                           adamoe_splitmix64 *random, float *logits)
{
    const size_t all = mixture.experts + mixture.null_experts;
    turns next = {0, 0};
    for (size_t t = 0; t < tokens; ++t) {
        float *l = logits + t * all;
        for (size_t i = 0; i < all; ++i) {
            l[i] = 0.0f;
        }
        choose(pattern, mixture, true_experts(mixture, load, t), &next, random, l);
        for (size_t i = 0; i < all; ++i) {
            const float distance = (float)(1.0 + uniform(random));
            l[i] = l[i] == CHOSEN ? distance : -distance;
        }
    }
}

adamoe_status adamoe_pattern_routing(adamoe_pattern pattern, adamoe_mixture mixture,
                                     adamoe_null_kind null_kind, double load, size_t tokens,
                                     adamoe_splitmix64 *random, adamoe_routing **out)
{
    const size_t all = mixture.experts + mixture.null_experts;
    const adamoe_rule rule = {.top_k = mixture.top_k, .norm = ADAMOE_NORM_TRUE, .null_kind = null_kind};
    float *logits = calloc(tokens * all + 1, sizeof *logits);
    if (logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", tokens);
    }
    adamoe_pattern_logits(pattern, mixture, load, tokens, random, logits);
    const adamoe_status status =
        adamoe_routing_create(logits, tokens, mixture.experts, mixture.null_experts, rule, out);
    free(logits);
    return status;
}

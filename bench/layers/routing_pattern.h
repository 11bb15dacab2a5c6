/*
 * Logits that lead to a wanted kind of routing: who gets the tokens, and how many of a token's experts are
 * true.
 */
#ifndef ADAMOE_LAYERS_ROUTING_PATTERN_H
#define ADAMOE_LAYERS_ROUTING_PATTERN_H

#include "adamoe.h"
#include "splitmix64.h"

typedef enum adamoe_pattern {
    ADAMOE_PATTERN_BALANCED = 0, /* experts in turn: their numbers of tokens differ by one at most */
    ADAMOE_PATTERN_RANDOM = 1,   /* independent normal logits */
    ADAMOE_PATTERN_SKEWED = 2,   /* expert i, true or null, is taken with a weight of 1 / (1 + i) */
    ADAMOE_PATTERN_ONE = 3,      /* every token selects true expert n/2; the others at random */
    ADAMOE_PATTERN_LONE = 4,     /* every token selects true expert n/2 and null experts alone */
    ADAMOE_PATTERN_NULL = 5,     /* null experts alone */
} adamoe_pattern;

#define ADAMOE_PATTERNS 6

/* "balanced", "random", "skewed", "one", "lone", "null". */
extern const char *const adamoe_pattern_names[ADAMOE_PATTERNS];

/* The experts of a layer as a routing sees them. */
typedef struct adamoe_mixture {
    size_t experts, null_experts, top_k; /* n, m, k; 1 <= k <= n + m */
} adamoe_mixture;

/* False where there are too few null experts for what the pattern asks. */
bool adamoe_pattern_fits(adamoe_pattern pattern, adamoe_mixture mixture);

/* k n / (n + m): the load of a routing that does not care which experts are null. */
double adamoe_indifferent_load(adamoe_mixture mixture);

/* logits is [tokens, n + m]. Balanced and skewed routings have `load` true experts for each token, rounded
 * after each token to a whole number for all tokens so far, as far as n, m and k allow; the other patterns do
 * not read it. */
void adamoe_pattern_logits(adamoe_pattern pattern, adamoe_mixture mixture, double load, size_t tokens,
                           adamoe_splitmix64 *random, float *logits);

/* The routing of such logits, weights normalised over the true experts. Errors: memory. */
adamoe_status adamoe_pattern_routing(adamoe_pattern pattern, adamoe_mixture mixture,
                                     adamoe_null_kind null_kind, double load, size_t tokens,
                                     adamoe_splitmix64 *random, adamoe_routing **out);

#endif

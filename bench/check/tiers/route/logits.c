/*
 * Logits that try a router.
 */
#include "check/tiers/route/logits.h"

#include <float.h>
#include <math.h>

/* A few values, so that many are equal. */
static float one_of_few(adamoe_splitmix64 *random)
{
    return (float)adamoe_splitmix64_below(random, 3) * 0.5f - 0.5f;
}

static float value_of(adamoe_logits_kind kind, adamoe_splitmix64 *random)
{
    const float normal = (float)adamoe_splitmix64_normal(random);
    switch (kind) {
    case ADAMOE_LOGITS_TIES:
        return one_of_few(random);
    case ADAMOE_LOGITS_NEAR_TIES:
        return 1.0f + (float)adamoe_splitmix64_below(random, 8) * FLT_EPSILON;
    case ADAMOE_LOGITS_ALL_EQUAL:
        return 0.75f;
    case ADAMOE_LOGITS_SIGNED_ZEROS:
        return adamoe_splitmix64_below(random, 2) == 0 ? 0.0f : -0.0f;
    case ADAMOE_LOGITS_DENORMAL:
        return (float)((int)adamoe_splitmix64_below(random, 64) - 32) * 0x1p-149f;
    case ADAMOE_LOGITS_HUGE:
        return normal * 0x1p125f;
    default:
        return normal;
    }
}

/* What depends on the place of an expert. */
static void shape(const adamoe_case *c, size_t token, adamoe_splitmix64 *random, float *logits)
{
    const size_t n = c->mixture.experts, all = n + c->mixture.null_experts;
    for (size_t i = 0; i < all; ++i) {
        if (c->logits == ADAMOE_LOGITS_COPIES && i >= n) {
            logits[i] = logits[(i - n) % n];
        } else if (c->logits == ADAMOE_LOGITS_ALL_NULL && i < n) {
            logits[i] -= 100.0f;
        } else if (c->logits == ADAMOE_LOGITS_ONE_EXPERT && i == n / 2) {
            logits[i] = 100.0f;
        }
    }
    const bool poisoned = c->logits == ADAMOE_LOGITS_NAN || c->logits == ADAMOE_LOGITS_INFINITE;
    if (poisoned && token == c->tokens / 2) {
        logits[adamoe_splitmix64_below(random, all)] = c->logits == ADAMOE_LOGITS_NAN ? NAN : -INFINITY;
    }
}

void adamoe_check_logits(const adamoe_case *c, adamoe_splitmix64 *random, float *logits)
{
    const size_t all = c->mixture.experts + c->mixture.null_experts;
    for (size_t t = 0; t < c->tokens; ++t) {
        for (size_t i = 0; i < all; ++i) {
            logits[t * all + i] = value_of(c->logits, random);
        }
        shape(c, t, random, logits + t * all);
    }
}

/*
 * A router: the property `repeated-calls`.
 */
#include "check/tiers/repeated.h"
#include "check/tiers/route/judge.h"
#include "check/tiers/route/logits.h"
#include "check/tiers/route/tiers.h"
#include "layers/random_layer.h"
#include "router.h"

#include <stdlib.h>

/* In which respect a call differs from the case's: in one alone, or in its size. */
typedef enum change {
    NOTHING = 0,
    OTHER_LOGITS = 1,
    LAST_LOGIT = 2,
    OTHER_NORM = 3,
    OTHER_TOP_K = 4,
    ONE_MORE_NULL = 5, /* expert, and one true one less: as many logits */
    HALF_THE_TOKENS = 6,
    ONE_TOKEN = 7,
    CHANGES = 8,
} change;

typedef struct subject {
    const adamoe_checking *k;
    float *logits[CHANGES];             /* [tokens, n + m] */
    adamoe_routing *reference[CHANGES]; /* what the reference selects */
    adamoe_routing *expected[CHANGES];  /* what the kernel gave first */
    adamoe_routing *got[CHANGES];
} subject;

static void change_logits(change what, float *logits, size_t count)
{
    for (size_t i = 0; i < count && what == OTHER_LOGITS; ++i) {
        logits[i] = -logits[i];
    }
    if (what == LAST_LOGIT) {
        logits[count - 1] += 5.0f;
    }
}

static adamoe_case changed(const adamoe_case *of, change what)
{
    adamoe_case c = *of;
    switch (what) {
    case OTHER_NORM:
        c.norm = c.norm == ADAMOE_NORM_ALL ? ADAMOE_NORM_NONE : ADAMOE_NORM_ALL;
        break;
    case OTHER_TOP_K:
        c.mixture.top_k = c.mixture.top_k > 1 ? c.mixture.top_k - 1 : c.mixture.top_k;
        break;
    case ONE_MORE_NULL:
        c.mixture.experts -= c.mixture.experts > 1;
        c.mixture.null_experts = of->mixture.experts + of->mixture.null_experts - c.mixture.experts;
        break;
    case HALF_THE_TOKENS:
        c.tokens = (c.tokens + 1) / 2;
        break;
    case ONE_TOKEN:
        c.tokens = 1;
        break;
    default:
        break;
    }
    return c;
}

static adamoe_status create(subject *s, change what)
{
    const adamoe_case c = changed(s->k->c, what);
    const size_t n = c.mixture.experts, m = c.mixture.null_experts;
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(s->k->c).text, s->k->seed);
    adamoe_routing **const routings[] = {&s->reference[what], &s->expected[what], &s->got[what]};
    ADAMOE_TRY(adamoe_check_floats(c.tokens * (n + m), &s->logits[what]));
    adamoe_check_logits(&c, &random, s->logits[what]);
    change_logits(what, s->logits[what], c.tokens * (n + m));
    for (size_t i = 0; i < 3; ++i) {
        ADAMOE_TRY(
            adamoe_routing_create(s->logits[what], c.tokens, n, m, adamoe_check_rule(&c), routings[i]));
    }
    return adamoe_ok();
}

static adamoe_status call_first(const void *subject_of, size_t i, const adamoe_call_manner *manner,
                                bool *go_on)
{
    const subject *s = subject_of;
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_route(manner, s->logits[i], s->expected[i], &outcome));
    *go_on =
        adamoe_check_called(s->k, &outcome) && adamoe_check_routing(s->k, s->expected[i], s->reference[i]);
    return adamoe_ok();
}

static adamoe_status call_again(const void *subject_of, size_t i, const adamoe_call_manner *manner,
                                const char *what, bool *go_on)
{
    const subject *s = subject_of;
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_route(manner, s->logits[i], s->got[i], &outcome));
    *go_on = adamoe_check_called(s->k, &outcome) &&
             (adamoe_check_promises_runs(s->k)
                  ? adamoe_check_same_routing(s->k, s->got[i], s->expected[i], 0, what)
                  : adamoe_check_routing(s->k, s->got[i], s->reference[i]));
    return adamoe_ok();
}

adamoe_status adamoe_check_route_repeated(const adamoe_checking *k)
{
    subject s = {.k = k};
    const adamoe_variants variants = {&s, CHANGES, call_first, call_again};
    adamoe_status status = adamoe_ok();
    if (k->c->tokens == 0) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "there is nothing to compare");
        return adamoe_ok();
    }
    for (size_t i = 0; i < CHANGES && status.code == ADAMOE_OK; ++i) {
        status = create(&s, (change)i);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_repeated(k, &variants);
    }
    for (size_t i = 0; i < CHANGES; ++i) {
        adamoe_routing_free(s.reference[i]);
        adamoe_routing_free(s.expected[i]);
        adamoe_routing_free(s.got[i]);
        free(s.logits[i]);
    }
    return status;
}

/*
 * A router: the tier `bitwise`. From run to run, for any number of threads and any order of their tasks, and for any
 * batch: what a token selects depends on no other token's logits.
 */
#include "check/tiers/again.h"
#include "check/tiers/route/judge.h"
#include "check/tiers/route/logits.h"
#include "check/tiers/route/tiers.h"
#include "layers/random_layer.h"
#include "router.h"

#include <stdlib.h>
#include <string.h>

/* All tokens, and what the kernel gave for them first. The routings begin as the reference's: a call overwrites what
 * they hold. */
typedef struct subject {
    const adamoe_checking *k;
    const float *logits; /* [tokens, n + m] */
    adamoe_routing *expected, *got;
} subject;

static adamoe_status compute(const adamoe_checking *k, const float *logits, const adamoe_call_manner *manner,
                             adamoe_routing *out, bool *go_on)
{
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_route(manner, logits, out, &outcome));
    *go_on = adamoe_check_called(k, &outcome);
    return adamoe_ok();
}

static adamoe_status compute_first(const void *subject_of, const adamoe_call_manner *manner, bool *go_on)
{
    const subject *s = subject_of;
    return compute(s->k, s->logits, manner, s->expected, go_on);
}

static adamoe_status compare(const void *subject_of, const adamoe_call_manner *manner, const char *what,
                             bool *go_on)
{
    const subject *s = subject_of;
    ADAMOE_TRY(compute(s->k, s->logits, manner, s->got, go_on));
    *go_on = *go_on && adamoe_check_same_routing(s->k, s->got, s->expected, 0, what);
    return adamoe_ok();
}

static adamoe_status create(const adamoe_case *c, const float *logits, size_t tokens, adamoe_routing **out)
{
    return adamoe_routing_create(logits, tokens, c->mixture.experts, c->mixture.null_experts,
                                 adamoe_check_rule(c), out);
}

/* Tokens first .. first + count - 1 as a batch of their own. */
static adamoe_status compare_some(const subject *s, size_t first, size_t count, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(s->k, ADAMOE_GUARD_BACK);
    const adamoe_mixture *mixture = &s->k->c->mixture;
    const float *logits = s->logits + first * (mixture->experts + mixture->null_experts);
    adamoe_routing *part = NULL;
    char what[80];
    (void)snprintf(what, sizeof what, "%zu tokens from token %zu on alone, and among %zu", count, first,
                   s->k->c->tokens);
    ADAMOE_TRY(create(s->k->c, logits, count, &part));
    const adamoe_status status = compute(s->k, logits, &manner, part, go_on);
    *go_on =
        *go_on && status.code == ADAMOE_OK && adamoe_check_same_routing(s->k, part, s->expected, first, what);
    adamoe_routing_free(part);
    return status;
}

/* Each of some tokens alone; and parts of the batch, which begin and end elsewhere in a block. */
static adamoe_status check_batch(const void *subject_of)
{
    static const size_t counts[] = {2, 3, 5, 8, 17};
    const subject *s = subject_of;
    const size_t tokens = s->k->c->tokens, step = tokens > 7 ? tokens / 7 : 1;
    bool go_on = true;
    for (size_t first = 0; first < tokens && go_on; first += step) {
        ADAMOE_TRY(compare_some(s, first, 1, &go_on));
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts && go_on; ++i) {
        for (size_t first = i; first + counts[i] <= tokens && go_on; first += 4 * counts[i] + 1) {
            ADAMOE_TRY(compare_some(s, first, counts[i], &go_on));
        }
    }
    return go_on && tokens > 1 ? compare_some(s, 1, tokens - 1, &go_on) : adamoe_ok();
}

adamoe_status adamoe_check_route_bitwise(const adamoe_checking *k)
{
    static const adamoe_bitwise of = {.first = compute_first, .again = compare, .batch = check_batch};
    const adamoe_case *c = k->c;
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(c).text, k->seed);
    float *logits = NULL;
    subject s = {.k = k};
    if (!adamoe_check_claimed(k)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_check_floats(c->tokens * (c->mixture.experts + c->mixture.null_experts), &logits));
    adamoe_check_logits(c, &random, logits);
    s.logits = logits;
    adamoe_status status = create(c, logits, c->tokens, &s.expected);
    if (status.code == ADAMOE_OK) {
        status = create(c, logits, c->tokens, &s.got);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_check_promise(k, &of, &s, c->tokens == 0);
    }
    adamoe_routing_free(s.expected);
    adamoe_routing_free(s.got);
    free(logits);
    return status;
}

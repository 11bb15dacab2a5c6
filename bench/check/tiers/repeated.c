/*
 * Calls of a function, again and again: see repeated.h.
 */
#include "check/tiers/repeated.h"
#include "layers/random_layer.h"

#include <stdio.h>

/* More calls than a byte counts. */
enum { CALLS_OF_A_ROUND = 60 };

/* reading[ADAMOE_ROUNDS + 1]: what there is before the rounds, and after each. */
static adamoe_status look(adamoe_check_round round, void *context, adamoe_resources *reading, bool *go_on)
{
    adamoe_resources_read(&reading[0]);
    for (size_t i = 1; i <= ADAMOE_ROUNDS && *go_on; ++i) {
        ADAMOE_TRY(round(context, go_on));
        adamoe_resources_read(&reading[i]);
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_for_growth(const adamoe_checking *k, adamoe_check_round round, void *context,
                                      const char *what, bool *go_on)
{
    adamoe_resources reading[ADAMOE_ROUNDS + 1];
    size_t growing = 0; /* the first resource that grows; any, before the first look */
    for (size_t i = 0; i < ADAMOE_LOOKS && growing < ADAMOE_RESOURCES && *go_on; ++i) {
        ADAMOE_TRY(look(round, context, reading, go_on));
        growing = adamoe_growing_resource(reading, ADAMOE_ROUNDS + 1);
    }
    if (*go_on && growing < ADAMOE_RESOURCES) {
        adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "the number of %s grows with each %s: %zu, later %zu",
                            adamoe_resource_names[growing], what, reading[0].count[growing],
                            reading[ADAMOE_ROUNDS].count[growing]);
        *go_on = false;
    }
    return adamoe_ok();
}

bool adamoe_check_promises_runs(const adamoe_checking *k)
{
    return (k->kernel->guarantees & ADAMOE_SAME_BITS_RUNS) != 0;
}

static adamoe_status call_first(const adamoe_checking *k, const adamoe_variants *v, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_BACK);
    for (size_t i = 0; i < v->count && *go_on; ++i) {
        ADAMOE_TRY(v->first(v->subject, i, &manner, go_on));
    }
    return adamoe_ok();
}

/* Calls in the same buffers, and how many there were. */
typedef struct calling {
    const adamoe_variants *variants;
    adamoe_call_manner manner;
    adamoe_splitmix64 random;
    size_t calls;
} calling;

static adamoe_status call_round(void *context, bool *go_on)
{
    calling *c = context;
    for (size_t n = 0; n < CALLS_OF_A_ROUND && *go_on; ++n) {
        const size_t i = adamoe_splitmix64_below(&c->random, c->variants->count);
        char what[80];
        (void)snprintf(what, sizeof what, "call %zu in the same buffers, and the first of its kind",
                       ++c->calls);
        ADAMOE_TRY(c->variants->again(c->variants->subject, i, &c->manner, what, go_on));
    }
    return adamoe_ok();
}

/* Each variant once in the buffers, which then are large enough for all. */
static adamoe_status settle_buffers(const adamoe_checking *k, const adamoe_variants *v, adamoe_kept *kept,
                                    bool *go_on)
{
    adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_FRONT);
    manner.kept = kept;
    for (size_t i = 0; i < v->count && *go_on; ++i) {
        ADAMOE_TRY(v->again(v->subject, i, &manner, "buffers that others had before, and fresh ones", go_on));
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_repeated(const adamoe_checking *k, const adamoe_variants *variants)
{
    adamoe_kept *kept = NULL;
    bool go_on = true;
    ADAMOE_TRY(call_first(k, variants, &go_on));
    if (!go_on) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_kept_create(&kept));
    adamoe_status status = settle_buffers(k, variants, kept, &go_on);
    if (status.code == ADAMOE_OK && go_on) {
        calling c = {.variants = variants,
                     .manner = adamoe_check_manner(k, ADAMOE_GUARD_FRONT),
                     .random = adamoe_random_for(adamoe_name_case(k->c).text, k->seed)};
        c.manner.kept = kept;
        status = adamoe_check_for_growth(k, call_round, &c, "call", &go_on);
    }
    adamoe_kept_free(kept);
    return status;
}

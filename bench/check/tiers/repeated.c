/*
 * Calls of a function, again and again: see repeated.h.
 */
#include "check/tiers/repeated.h"
#include "layers/random_layer.h"

#include <stdio.h>

/* More calls than a byte counts. */
enum { CALLS_OF_A_ROUND = 60 };

bool adamoe_check_something_grows(const adamoe_resources *reading)
{
    return adamoe_growing_resource(reading, ADAMOE_ROUNDS + 1) < ADAMOE_RESOURCES;
}

bool adamoe_check_nothing_grows(const adamoe_checking *k, const adamoe_resources *reading, const char *what)
{
    const size_t resource = adamoe_growing_resource(reading, ADAMOE_ROUNDS + 1);
    if (resource < ADAMOE_RESOURCES) {
        adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "the number of %s grows with each %s: %zu, later %zu",
                            adamoe_resource_names[resource], what, reading[0].count[resource],
                            reading[ADAMOE_ROUNDS].count[resource]);
    }
    return resource == ADAMOE_RESOURCES;
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

/* The rounds, and what there is before them and after each. */
static adamoe_status call_rounds(const adamoe_variants *v, const adamoe_call_manner *manner,
                                 adamoe_splitmix64 *random, adamoe_resources *reading, bool *go_on)
{
    for (size_t number = 0; number <= ADAMOE_ROUNDS * CALLS_OF_A_ROUND && *go_on; ++number) {
        if (number % CALLS_OF_A_ROUND == 0) {
            adamoe_resources_read(&reading[number / CALLS_OF_A_ROUND]);
        }
        const size_t i = adamoe_splitmix64_below(random, v->count);
        char what[80];
        (void)snprintf(what, sizeof what, "call %zu in the same buffers, and the first of its kind", number);
        ADAMOE_TRY(v->again(v->subject, i, manner, what, go_on));
    }
    return adamoe_ok();
}

static adamoe_status call_often(const adamoe_checking *k, const adamoe_variants *v, adamoe_kept *kept)
{
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(k->c).text, k->seed);
    adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_FRONT);
    adamoe_resources reading[ADAMOE_ROUNDS + 1];
    bool go_on = true, grows = true;
    manner.kept = kept;
    for (size_t look = 0; look < ADAMOE_LOOKS && grows && go_on; ++look) {
        ADAMOE_TRY(call_rounds(v, &manner, &random, reading, &go_on));
        grows = go_on && adamoe_check_something_grows(reading);
    }
    if (go_on) {
        (void)adamoe_check_nothing_grows(k, reading, "call");
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
        status = call_often(k, variants, kept);
    }
    adamoe_kept_free(kept);
    return status;
}

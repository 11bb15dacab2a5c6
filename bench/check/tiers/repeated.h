/*
 * The property `repeated-calls` of a function without a prepared object: it is called some three hundred times in the same
 * buffers, with other contents and sizes each time, and nothing of the process grows meanwhile. Not for others than the
 * tiers.
 */
#ifndef ADAMOE_CHECK_TIERS_REPEATED_H
#define ADAMOE_CHECK_TIERS_REPEATED_H

#include "check/call/growth.h"
#include "check/tiers/judge.h"

/* Calls that differ in one respect alone, or in their size. */
typedef struct adamoe_variants {
    const void *subject;
    size_t count;
    /* Calls variant i, judges it as its tier does, and keeps what it gave; false in *go_on where it fails, which then
     * is the result. Errors: memory. */
    adamoe_status (*first)(const void *subject, size_t i, const adamoe_call_manner *manner, bool *go_on);
    /* Calls it again, and compares it with the first time where bits are promised, otherwise judges it as before;
     * `what` says which two. */
    adamoe_status (*again)(const void *subject, size_t i, const adamoe_call_manner *manner, const char *what,
                           bool *go_on);
} adamoe_variants;

/* Errors: memory, as `variants`. */
adamoe_status adamoe_check_repeated(const adamoe_checking *k, const adamoe_variants *variants);

/* Rounds of equal work, after the first of which, in which caches fill up, nothing may grow from each to the next. Caches
 * of threads may take longer, because who does which task is a matter of chance: so what grew in all rounds is looked at
 * again in as many rounds, up to so many times. What is left behind by each call grows in all of them. */
#define ADAMOE_ROUNDS 5
#define ADAMOE_LOOKS  4

/* The work of a round; false in *go_on where a call failed, which then is the result. Errors: memory. */
typedef adamoe_status (*adamoe_check_round)(void *context, bool *go_on);

/* Does the rounds of all looks that are needed. False in *go_on where a round says so, and where something grows with each
 * `what`, which then is the result. Errors: those of the round. */
adamoe_status adamoe_check_for_growth(const adamoe_checking *k, adamoe_check_round round, void *context,
                                      const char *what, bool *go_on);

/* Whether the kernel promises its bits from run to run. */
bool adamoe_check_promises_runs(const adamoe_checking *k);

#endif

/*
 * A call made again in other manners, for tiers that compare bits; and the tier bitwise as far as its kinds are alike.
 * Not for others.
 */
#ifndef ADAMOE_CHECK_TIERS_AGAIN_H
#define ADAMOE_CHECK_TIERS_AGAIN_H

#include "check/tiers/judge.h"

/* Computes a subject once more in a manner, and compares it with the first time; false in *go_on where it is
 * different, which then is the result. `what` as above. */
typedef adamoe_status adamoe_check_again(const void *subject, const adamoe_call_manner *manner,
                                         const char *what, bool *go_on);

/* Once more, and with buffers elsewhere. Errors: as `again`. */
adamoe_status adamoe_check_runs(const adamoe_checking *k, adamoe_check_again *again, const void *subject,
                                bool *go_on);

/* With 1, 2, 3 and 7 threads, in one whose tasks run backwards, and in 4 that take them in random order with
 * random delays. Errors: as `again`; threads. */
adamoe_status adamoe_check_threads(const adamoe_checking *k, adamoe_check_again *again, const void *subject);

/* What a kind of case brings to the tier bitwise. Errors of each: memory; what the kernel does wrong is the result. */
typedef struct adamoe_bitwise {
    /* Computes what all else is compared with; false in *go_on where it does not come to its end. */
    adamoe_status (*first)(const void *subject, const adamoe_call_manner *manner, bool *go_on);
    adamoe_check_again *again;
    adamoe_status (*after)(const void *subject); /* of runs: after something else was computed; or NULL */
    adamoe_status (*batch)(const void *subject);
    adamoe_status (*placement)(const void *subject); /* NULL where no case has that guarantee */
} adamoe_bitwise;

/* Whether the kernel makes the promise of the case; where it does not, "skipped" is the result. */
bool adamoe_check_claimed(const adamoe_checking *k);

/* The tier bitwise: the promise of the case. Vacuous where the subject is `empty`. Errors: as `of`; threads. */
adamoe_status adamoe_check_promise(const adamoe_checking *k, const adamoe_bitwise *of, const void *subject,
                                   bool empty);

#endif

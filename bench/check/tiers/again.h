/*
 * A call made again in other manners, for tiers that compare bits. Not for others.
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

#endif

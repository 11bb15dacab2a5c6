/*
 * What the tiers of `adamoe check` share; not for others.
 */
#ifndef ADAMOE_CHECK_TIERS_TIERS_H
#define ADAMOE_CHECK_TIERS_TIERS_H

#include "bound.h"
#include "check/call/call.h"
#include "check/tiers/data.h"
#include "check/run.h"

typedef struct adamoe_checking {
    const adamoe_kernel *kernel;
    const adamoe_case *c;
    uint64_t seed;
    const adamoe_team *team;
    adamoe_placement placement; /* of its threads */
    double exp_error;           /* of a softmax, in units of 2^-24 */
    adamoe_check_result *out;   /* passed, until something is found */
} adamoe_checking;

/* One function for each tier; check/run.c chooses. Errors: memory. */
adamoe_status adamoe_check_exact(const adamoe_checking *k);
adamoe_status adamoe_check_bound(const adamoe_checking *k);
adamoe_status adamoe_check_attention(const adamoe_checking *k);
adamoe_status adamoe_check_gradient(const adamoe_checking *k); /* of all three tiers that it has */
adamoe_status adamoe_check_model_tier(const adamoe_checking *k);
adamoe_status adamoe_check_bitwise(const adamoe_checking *k);
adamoe_status adamoe_check_property(const adamoe_checking *k);
adamoe_status adamoe_check_routing(const adamoe_checking *k);

/* The usual manner: the team's threads where they are placed. */
adamoe_call_manner adamoe_check_manner(const adamoe_checking *k, adamoe_guard_end end);

/* Makes `status` the result, with the reason. */
__attribute__((format(printf, 3, 4))) void
adamoe_check_settle(const adamoe_checking *k, adamoe_check_status status, const char *format, ...);

/* False where a call did not come to its end, which then is the result. */
bool adamoe_check_called(const adamoe_checking *k, const adamoe_call_outcome *outcome);

/* Judges got, rows of `width` elements, by the yardstick, whose spread counts `scale` times; keeps the larger
 * ratios of this and what was judged before. False where it fails, which then is the result. */
bool adamoe_check_judge(const adamoe_checking *k, const adamoe_yardstick *yardstick, const float *got,
                        size_t width, double scale);

/* False where two arrays of rows of `width` elements differ in a bit, which then is the result: as a failure
 * of tier bitwise, or of the case's own. `what` says which two: "2 threads and 1". */
bool adamoe_check_same_bits(const adamoe_checking *k, const float *got, const float *expected, size_t count,
                            size_t width, const char *what);

/* Computes a subject once more in a manner, and compares it with the first time; false in *go_on where it is
 * different, which then is the result. `what` as above. */
typedef adamoe_status adamoe_check_again(const void *subject, const adamoe_call_manner *manner,
                                         const char *what, bool *go_on);

/* Once more, and with buffers elsewhere. Errors: as `again`. */
adamoe_status adamoe_check_runs(const adamoe_checking *k, adamoe_check_again *again, const void *subject,
                                bool *go_on);

/* With 1, 2, 3 and 7 threads, and in one whose tasks run backwards. Errors: as `again`; threads. */
adamoe_status adamoe_check_threads(const adamoe_checking *k, adamoe_check_again *again, const void *subject);

/* A zeroed array of floats, never NULL on success. Errors: memory. */
adamoe_status adamoe_check_floats(size_t count, float **out);

#endif

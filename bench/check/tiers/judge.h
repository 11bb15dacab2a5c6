/*
 * What a tier judges with: the case that is checked, and how a comparison becomes its result. Not for others.
 */
#ifndef ADAMOE_CHECK_TIERS_JUDGE_H
#define ADAMOE_CHECK_TIERS_JUDGE_H

#include "bound/bound.h"
#include "check/call/call.h"
#include "check/tiers/result.h"

/* No channel, row or token. */
#define ADAMOE_NOWHERE SIZE_MAX

typedef struct adamoe_checking {
    const adamoe_kernel *kernel;
    const adamoe_case *c;
    uint64_t seed;
    const adamoe_team *team;
    adamoe_placement placement;                  /* of its threads */
    double route_exp_error, attention_exp_error; /* of their softmax, in units of 2^-24 */
    adamoe_check_result *out;                    /* passed, until something is found */
} adamoe_checking;

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

/* A zeroed array of floats, never NULL on success. Errors: memory. */
adamoe_status adamoe_check_floats(size_t count, float **out);

#endif

/*
 * Whether a time is possible: nothing is faster than the machine. What exceeds it is an error of the measurement, of
 * the peaks or of what a kernel says of its operands, and no result.
 */
#ifndef ADAMOE_TIMING_POSSIBLE_H
#define ADAMOE_TIMING_POSSIBLE_H

#include "timing/summary.h"

/* What else is known of a measurement. Weights may come from a cache, or from a nearer one than the limit has, where they
 * are hot, where the cache's size was given by hand, or where there was too little memory for all copies or for the
 * buffer that is read. */
typedef struct adamoe_possible_conditions {
    double peak_gflops;       /* the best burst of the run; 0: unknown */
    bool arithmetic_binds;    /* the limit: otherwise reading does */
    bool may_come_from_cache; /* the weights */
} adamoe_possible_conditions;

/* ADAMOE_DIFFERENCE, with the reason, where the rate of the median repetition is above ADAMOE_LARGEST_SHARE of the best
 * rate of arithmetic that was seen in the run; or the median time is shorter than that share of the limit of the run's
 * best bursts; or it is shorter than that limit, and the whole interval of the shares of the moments is above that share.
 * A share of the moment that is above it otherwise is noise of the bursts, and is marked in its line. Where weights may
 * have come from a cache, only arithmetic can be impossible. */
adamoe_status adamoe_judge_possible(const adamoe_bench_summary *summary,
                                    adamoe_possible_conditions conditions);

#endif

/*
 * The verdict over a tensor, by a yardstick (bound.h).
 */
#ifndef ADAMOE_BOUND_JUDGE_H
#define ADAMOE_BOUND_JUDGE_H

#include "bound/bound.h"

/* The verdict over a tensor. Its place is the element with the largest ratio. */
typedef struct adamoe_verdict {
    bool passed;
    bool vacuous;         /* proves nothing, see adamoe_judge */
    size_t worst;         /* element with the largest ratio, or the first that is not judged */
    double largest_ratio; /* of error / allowed; above 1 fails */
    double rms_ratio;     /* root mean square of (error beyond slack) / spread; above 1 fails */
} adamoe_verdict;

/* One element may miss by lambda * spread + slack; the root mean square of (error - slack) / spread over the
 * elements with a spread may be 1. `scale` widens spread where the expected side was rounded too (1 if not).
 *
 * An element whose bound is infinite is not judged, and makes the verdict vacuous; it is the place where nothing is
 * wrong elsewhere. So is a verdict over elements that were computed more than half of
 * which are expected to be 0: zeros are what a kernel that computes nothing writes. Elements that allow no
 * error are not counted there: those of tokens without a row, which must be exactly 0, however many there
 * are. If there are no others, the verdict is vacuous unless something else than 0 is expected. */
adamoe_verdict adamoe_judge(const adamoe_yardstick *yardstick, const float *got, double scale);

#endif

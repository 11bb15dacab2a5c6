/*
 * One loop on every thread of a team at the same moment, timed from the first start to the last end: what a
 * peak is measured with. The team's wake-up is not in the time.
 */
#ifndef ADAMOE_PEAKS_BURST_H
#define ADAMOE_PEAKS_BURST_H

#include "adamoe.h"

/* Calls part(context, i) once for each i below the team's number of threads, each on a thread of its own, and
 * returns the seconds between the first start and the last end. The threads wait for each other, 10 ms at the
 * most: a team that has fewer threads than it says gives a longer time, not a hang. */
double adamoe_burst(const adamoe_team *team, void (*part)(void *context, uint32_t i), void *context);

#endif

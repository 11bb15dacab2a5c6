/*
 * The rate at which the threads of a team can read their caches: what bounds weights that are hot.
 */
#ifndef ADAMOE_PEAKS_CACHE_PEAK_H
#define ADAMOE_PEAKS_CACHE_PEAK_H

#include "adamoe.h"

/* All threads together: bytes that a level holds, and 10^9 bytes per second. A rate of 0: not measured, because there is
 * no such level, it is not much larger than the one before it, or there was no memory. */
typedef struct adamoe_cache_rates {
    double level2_bytes, level3_bytes;
    double level2, level3;
} adamoe_cache_rates;

/* Each thread reads a part of its own again and again, of half of its second level, and of more than the second levels
 * hold; the fastest of some tries and ways counts. Takes some tens of milliseconds. level3_bytes is that of the whole
 * machine's largest cache, as adamoe_last_level_cache says. */
adamoe_cache_rates adamoe_measure_cache_rates(const adamoe_team *team);

/* 10^9 bytes per second at which `bytes` of weights that were read before can be read again: from the second levels as
 * much as they hold, the rest from the third, and what that does not hold at `memory`. INFINITY where the level that it
 * comes from was not measured. */
double adamoe_hot_rate(const adamoe_cache_rates *rates, double bytes, double memory);

/* The level that most of that time is spent on: 2, 3, or 4 for memory. */
int adamoe_hot_level(const adamoe_cache_rates *rates, double bytes, double memory);

#endif

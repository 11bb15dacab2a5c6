/*
 * The rate at which the threads of a team can read memory: over several streams, distances of prefetching and
 * sizes of pages, from buffers too large for the caches.
 */
#ifndef ADAMOE_PEAKS_MEMORY_PEAK_H
#define ADAMOE_PEAKS_MEMORY_PEAK_H

#include "adamoe.h"

/* One way to read. */
typedef struct adamoe_reading {
    unsigned streams; /* of each thread, side by side */
    size_t ahead;     /* bytes between what is read and what is asked for; 0: nothing is asked for */
    bool huge_pages;  /* asked for; the system may not have any */
    double best;      /* 10^9 bytes per second, of the bursts so far */
} adamoe_reading;

typedef struct adamoe_memory_peak adamoe_memory_peak;

/* Two buffers of five times `cache_bytes` each (the last-level caches that the threads use, together), on
 * ordinary and on huge pages. Errors: memory. */
adamoe_status adamoe_memory_peak_create(const adamoe_team *team, size_t cache_bytes,
                                        adamoe_memory_peak **out);
void adamoe_memory_peak_free(adamoe_memory_peak *peak);

/* Reads the next quarter of a buffer with all threads, each its own part: 10^9 bytes per second. The first
 * calls try every way several times; after those, every call reads in the way that was fastest, so that rates
 * of different moments differ by the moment alone. */
double adamoe_memory_burst(adamoe_memory_peak *peak);

/* Calls until the way has been chosen. */
size_t adamoe_memory_peak_trials(const adamoe_memory_peak *peak);

/* The best way so far. */
adamoe_reading adamoe_memory_peak_best(const adamoe_memory_peak *peak);

#endif

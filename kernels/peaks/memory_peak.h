/*
 * The rate at which the threads of a team can read memory: over several streams, distances of prefetching and
 * sizes of pages, from a buffer too large for the caches. Left out: caches that keep more of what they were given
 * than a cyclic walk over five times their size finds again, which none is known to do.
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

/* A buffer of five times `cache_bytes` (the last-level caches that the threads use, together), of 64 MB at least
 * and of `most_bytes` at most: half of it on ordinary pages and half on huge ones, and all of it on the better
 * ones once they have been found. Errors: memory, and fewer than 4 MB. */
adamoe_status adamoe_memory_peak_create(const adamoe_team *team, size_t cache_bytes, size_t most_bytes,
                                        adamoe_memory_peak **out);
void adamoe_memory_peak_free(adamoe_memory_peak *peak);

/* Bytes of the buffer, and as many as were wanted: with fewer than twice the caches some of it may be read from
 * them. */
size_t adamoe_memory_peak_bytes(const adamoe_memory_peak *peak);
size_t adamoe_memory_peak_wanted(const adamoe_memory_peak *peak);

/* Bytes that a burst reads: a quarter of the buffer, at most 64 MB. */
size_t adamoe_memory_peak_piece(const adamoe_memory_peak *peak);

/* Reads the next piece of the buffer with all threads, each its own part: 10^9 bytes
 * per second. The first
 * calls try every way several times; after those, every call reads in the way that was fastest, so that rates
 * of different moments differ by the moment alone. */
double adamoe_memory_burst(adamoe_memory_peak *peak);

/* Calls until the way has been chosen. */
size_t adamoe_memory_peak_trials(const adamoe_memory_peak *peak);

/* The best way so far. */
adamoe_reading adamoe_memory_peak_best(const adamoe_memory_peak *peak);

#endif

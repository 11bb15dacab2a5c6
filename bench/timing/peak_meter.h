/*
 * The machine's peaks during a measurement, from short bursts before and after each repetition of what is
 * measured.
 *
 * Two questions, two statistics. What can the machine do? The best of all bursts: something may have
 * disturbed the others. What could it do around repetition i, while somebody on the sibling hyperthreads took
 * half of it for some seconds? The bursts next to that repetition. Both are of the same way of being busy,
 * chosen once: the fastest instruction path by its median over the run, the fastest way to read by trials
 * before it; a rate of the luckiest way at each moment would be too high.
 */
#ifndef ADAMOE_TIMING_PEAK_METER_H
#define ADAMOE_TIMING_PEAK_METER_H

#include "peaks/arithmetic_peak.h"
#include "peaks/cache_peak.h"

typedef struct adamoe_peak_meter adamoe_peak_meter;

/* Finds the fastest ways to read memory first, which takes some tenths of a second. The buffer that is read takes
 * at most a quarter of the memory that is available. Errors: memory. */
adamoe_status adamoe_peak_meter_create(const adamoe_team *team, adamoe_peak_meter **out);
void adamoe_peak_meter_free(adamoe_peak_meter *meter);

/* Forgets the bursts so far. */
void adamoe_peak_meter_begin(adamoe_peak_meter *meter);

/* One burst: `slices` times in turn, each instruction path that can multiply any of `pairs` for about a
 * millisecond, and one read of a piece of five times the last-level cache. Its rates are those of all
 * slices together. Every burst since the beginning is for the same operands. Errors: memory. */
adamoe_status adamoe_peak_meter_burst(adamoe_peak_meter *meter, adamoe_operand_pairs pairs, size_t slices);

/* Reads twice as many bytes as the last-level cache holds, or what there is of them, and keeps no rate. */
void adamoe_peak_meter_empty_caches(adamoe_peak_meter *meter);

/* Seconds that a slice takes, about. */
#define ADAMOE_BURST_SLICE 0.0025

/* Of the `bursts` since the beginning; all threads together. 10^9 per second. */
typedef struct adamoe_peak {
    double gflops, gflops_median; /* the best and the middle one of the fastest path; 0 where none runs */
    const char *path;             /* "vfmadd, AVX2", or "none" */
    double gbytes_per_second, gbytes_per_second_median;
    size_t bursts;
    const double *gflops_of, *gbytes_of; /* [bursts], or NULL; they hold until the next burst */
    adamoe_cache_rates caches;           /* measured when the meter was made */
    size_t read_bytes,
        read_bytes_wanted; /* of the buffer that was read, and of one that no cache keeps a part of */
} adamoe_peak;

/* For a kernel with these operands, which were among those of the bursts: its path can multiply them all. */
adamoe_status adamoe_peak_meter_read(const adamoe_peak_meter *meter, adamoe_operand_pairs pairs,
                                     adamoe_peak *out);

#endif

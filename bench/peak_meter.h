/*
 * The machine's peaks during a measurement, from short bursts between the repetitions of what is measured.
 *
 * What counts as the peak is the best of the bursts: a limit is what the machine can do, and a burst that
 * something disturbed would lower it and flatter every kernel. So a share of the roofline errs downwards on a
 * disturbed machine, never upwards. The median of the bursts is kept beside it: how far it is below the best
 * tells how steady the machine was.
 */
#ifndef ADAMOE_PEAK_METER_H
#define ADAMOE_PEAK_METER_H

#include "adamoe.h"

typedef struct adamoe_peak_meter adamoe_peak_meter;

/* Finds the fastest ways to read memory first, which takes some tenths of a second. Errors: memory. */
adamoe_status adamoe_peak_meter_create(const adamoe_team *team, adamoe_peak_meter **out);
void adamoe_peak_meter_free(adamoe_peak_meter *meter);

/* Forgets the bursts so far. */
void adamoe_peak_meter_begin(adamoe_peak_meter *meter);

/* One burst of each instruction path that serves one of `weights` (a bit for each adamoe_arithmetic), about a
 * millisecond, and one read of a quarter of five times the last-level cache. Errors: memory. */
adamoe_status adamoe_peak_meter_burst(adamoe_peak_meter *meter, uint32_t weights);

/* Of all bursts since the beginning; all threads together. */
typedef struct adamoe_peak {
    double gflops, gflops_median; /* of the fastest path for the operands; 0 where none runs here */
    const char *path;             /* "vfmadd, AVX2", or "none" */
    double gbytes_per_second, gbytes_per_second_median;
} adamoe_peak;

adamoe_status adamoe_peak_meter_read(const adamoe_peak_meter *meter, adamoe_arithmetic weight,
                                     adamoe_peak *out);

/* Bytes of the largest cache of processor 0; 0 where unknown. */
size_t adamoe_last_level_cache(void);

#endif

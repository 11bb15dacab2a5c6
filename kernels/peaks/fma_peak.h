/*
 * The float32 FMA peak of the threads of a team, measured: what a share of peak is a share of.
 */
#ifndef ADAMOE_PEAKS_FMA_PEAK_H
#define ADAMOE_PEAKS_FMA_PEAK_H

#include "adamoe.h"

typedef struct adamoe_fma_peak {
    double gflops; /* all threads of the team together; 0 where the processor has no FMA that is known here */
    const char *instruction; /* "avx512f", "avx2" or "none" */
} adamoe_fma_peak;

/* Runs FMA loops in registers on all threads of the team, 5 to 10 ms at a time, `repetitions` times, and
 * takes the fastest. */
adamoe_fma_peak adamoe_measure_fma_peak(const adamoe_team *team, size_t repetitions);

/* Enough independent chains to cover the latency of two units (4 or 5 cycles each), few enough for 16
 * registers. */
#define ADAMOE_FMA_CHAINS 12

/* Executes `rounds` rounds of ADAMOE_FMA_CHAINS FMAs on vectors of 8 and of 16 floats; only where the
 * processor can. */
float adamoe_fma_rounds_avx2(size_t rounds);
float adamoe_fma_rounds_avx512(size_t rounds);

#endif

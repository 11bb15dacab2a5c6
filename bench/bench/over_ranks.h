/*
 * adamoe bench over the ranks of a run: the layer with its experts spread over them, as a table and as JSON. Each rank has
 * --tokens tokens; a call begins on all ranks together and lasts as long as on the slowest. Left out: the roofline, which
 * is one machine's.
 */
#ifndef ADAMOE_BENCH_OVER_RANKS_H
#define ADAMOE_BENCH_OVER_RANKS_H

#include "bench/over_ranks_options.h"

/* All ranks call it together, with the same options; rank 0 prints and writes. Errors: DIFFERENCE where a result is wrong, or
 * other bytes travel than predicted; what the kernels, messages and the file report. */
adamoe_status adamoe_bench_over_ranks_run(const adamoe_bench_over_ranks *options);

#endif

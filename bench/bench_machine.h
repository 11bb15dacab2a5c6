/*
 * What computes while something is timed: a team, where its memory comes from, and the peaks of both.
 */
#ifndef ADAMOE_BENCH_MACHINE_H
#define ADAMOE_BENCH_MACHINE_H

#include "peak_meter.h"

typedef struct adamoe_bench_machine {
    adamoe_team *team; /* NULL: nothing is there yet */
    const adamoe_host *host;
    adamoe_placement placement;
    adamoe_peak_meter *meter;
    const adamoe_kernel *fallback; /* for the router's product, where a kernel has none in float32 */
} adamoe_bench_machine;

/* A team of so many threads, and its peaks. Errors: threads, memory; nothing is there then. */
adamoe_status adamoe_bench_machine_enter(adamoe_bench_machine *machine, uint32_t threads);

/* Gives back what enter made, if anything: what was prepared with it is released before. */
void adamoe_bench_machine_leave(adamoe_bench_machine *machine);

#endif

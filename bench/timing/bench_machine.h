/*
 * What computes while something is timed: a team, where its memory comes from, and the peaks of both.
 */
#ifndef ADAMOE_TIMING_BENCH_MACHINE_H
#define ADAMOE_TIMING_BENCH_MACHINE_H

#include "program/machine.h"
#include "timing/peak_meter.h"

typedef struct adamoe_bench_machine {
    adamoe_machine opened;
    adamoe_team *team; /* of `opened`, and so are host and placement; NULL: nothing is there yet */
    const adamoe_host *host;
    adamoe_placement placement;
    adamoe_peak_meter *meter;
    const adamoe_kernel *fallback; /* for the router's product, where a kernel has none in float32 */
} adamoe_bench_machine;

/* Opens the machine, and measures its peaks for the first time. The machine stays where it is until it is
 * left. Errors: those of adamoe_machine_open; memory; nothing is there then. */
adamoe_status adamoe_bench_machine_enter(adamoe_bench_machine *machine,
                                         const adamoe_machine_options *options);

/* Gives back what enter made, if anything: what was prepared with it is released before. */
void adamoe_bench_machine_leave(adamoe_bench_machine *machine);

#endif

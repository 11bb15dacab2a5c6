/*
 * What a calibration is made of: one expert with so many rows, messages between ranks, and layers whose experts are spread
 * over ranks, all timed on the ranks of this run, at once on all of them.
 */
#ifndef ADAMOE_SCALE_MEASURE_H
#define ADAMOE_SCALE_MEASURE_H

#include "layers/presets.h"
#include "layers/random_layer.h"
#include "mpi/world.h"
#include "program/machine.h"
#include "scale/calibration.h"

typedef struct adamoe_measure {
    const adamoe_world *world;
    const adamoe_machine *machine;
    const adamoe_kernel *kernel;
    const adamoe_preset *preset;
    uint64_t seed;
    uint32_t chunks;     /* of outputs on their way */
    double most_seconds; /* nothing is timed at sizes beyond the first whose call takes longer */
} adamoe_measure;

/* The largest `own` of all ranks, on every rank. */
adamoe_status adamoe_measure_slowest(const adamoe_world *world, double own, double *out);

/* One expert with 1 to 4,096 rows. */
typedef struct adamoe_expert_timer {
    const adamoe_measure *measure;
    adamoe_random_layer layer;
    adamoe_prepared *prepared;
    size_t
        experts; /* of a call: together more than twice as large as the last-level cache, so that weights are cold */
} adamoe_expert_timer;

/* `measure` must outlive *out. Errors: memory; those of the kernel. */
adamoe_status adamoe_expert_timer_open(const adamoe_measure *measure, adamoe_expert_timer *out);
void adamoe_expert_timer_close(adamoe_expert_timer *timer);

/* Fills in the kernel's part, or what is faster now: the fastest call, that of the slowest rank, divided by its experts,
 * which have the same number of rows each. What else the machine has to do makes a call slower, never faster. Errors:
 * memory; those of the kernel and of messages. */
adamoe_status adamoe_expert_timer_pass(adamoe_expert_timer *timer, adamoe_calibration *out);

/* Fills in the wire's part; nothing for one rank. Every rank sends so many bytes to every other one and waits for theirs, as
 * a layer does; half of a fast round trip of one byte between ranks 0 and 1 is the latency. What the model makes of the
 * exchanges that it was fitted to is added to the checks. Errors: memory; those of messages. */
adamoe_status adamoe_measure_wire(const adamoe_measure *measure, adamoe_calibration *out);

/* Seconds of an exchange of so many bytes with each of the others. */
typedef struct adamoe_exchange_time {
    double bytes, seconds;
} adamoe_exchange_time;

/* Latency, overhead, rendezvous and bandwidth from `count` exchanges by ascending bytes, at least 3, with `peers` others:
 * the shortest gives latency and overhead, least squares of relative errors the others, for each size after which
 * rendezvous may begin. Sets those five fields. Pure. */
void adamoe_fit_wire(double latency, size_t peers, const adamoe_exchange_time *exchange, size_t count,
                     adamoe_cost_network *out);

/* Runs the preset's layer with null experts and at top-k0 without, at several numbers of tokens of each rank, with overlap
 * and without, all of them in turn and again, and the expert of `timer` between them; adds what the model says of each to
 * the checks, beside the fastest of its times. What can be hidden is fitted to the runs at top-k0. Nothing for one rank.
 * Errors: memory; those of the kernel and of messages. */
adamoe_status adamoe_measure_layers(const adamoe_measure *measure, adamoe_expert_timer *timer,
                                    adamoe_calibration *out);

#endif

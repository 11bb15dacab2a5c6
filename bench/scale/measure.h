/*
 * What a calibration is made of: one expert with so many rows, messages between ranks, and layers whose experts are spread
 * over ranks, all timed on the ranks of this run, at once on all of them.
 *
 * Everything is timed once in every round, in turn, so that the model and what it is held against are of the same moments;
 * medians over rounds are what counts. How long that will take is found out and said beforehand. A round in which the
 * machine had too much else to do is repeated, as far as time allows.
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
    double budget;       /* seconds that all rounds together shall take at most */
    bool quiet;          /* what is planned is not printed */
    /* Called with an error before anything is given back that a message on its way may need; may not return. */
    void (*stop)(void *context, const adamoe_status *status);
    void *stop_context;
} adamoe_measure;

/* All of it; layers and wire only where there are several ranks. Errors: memory; those of the kernel and of messages. */
adamoe_status adamoe_measure_all(const adamoe_measure *measure, adamoe_calibration *out);

/* ------------------------------------------------------------------------------------------------- rounds */

#define ADAMOE_MOST_ROUNDS  30 /* those that are repeated among them */
#define ADAMOE_LEAST_ROUNDS 8  /* 6 pairs are the fewest that have a 95 % interval */

/* Which rounds count. */
typedef struct adamoe_rounds {
    size_t number[ADAMOE_MOST_ROUNDS];
    size_t count;
} adamoe_rounds;

/* Of the rounds that count, at least one. */
double adamoe_rounds_median(const adamoe_rounds *rounds, const double seconds[ADAMOE_MOST_ROUNDS]);

/* How many rounds of `cost` seconds fit into `budget`: at least ADAMOE_LEAST_ROUNDS, at most two thirds of
 * ADAMOE_MOST_ROUNDS, so that some can be repeated. Pure. */
size_t adamoe_rounds_planned(double cost, double budget);

/* The largest `own` of all ranks, on every rank. */
adamoe_status adamoe_measure_slowest(const adamoe_world *world, double own, double *out);

/* ----------------------------------------------------------------------------------------------- one expert */

typedef struct adamoe_expert_timer adamoe_expert_timer;

/* Experts that a rank holds, as the kernel prepared them. */
typedef struct adamoe_own_experts {
    adamoe_prepared *prepared;
    size_t count;
} adamoe_own_experts;

/* One expert with 1 to 4,096 rows: those of `own` in turn, the very weights that a layer computes with, since it matters
 * where in memory they are and how cold; of one rank that has no layer (NULL), as many as are together more than twice as
 * large as the last-level cache, if the preset has so many. `measure` and `own` must outlive *out, which is to be closed
 * whether this fails or not. *cost becomes the seconds of a round. */
adamoe_status adamoe_expert_timer_open(const adamoe_measure *measure, const adamoe_own_experts *own,
                                       adamoe_expert_timer **out, double *cost);
void adamoe_expert_timer_close(adamoe_expert_timer *timer);
adamoe_status adamoe_expert_timer_round(adamoe_expert_timer *timer, size_t round);

/* Fills in the kernel's part: the time of a call divided by its experts, which have the same number of rows each, that of
 * the slowest rank, for which the others wait after every call as they do in a layer; and that of rank 0 alone. */
void adamoe_expert_timer_finish(const adamoe_expert_timer *timer, const adamoe_rounds *rounds,
                                adamoe_calibration *out);

/* ------------------------------------------------------------------------------------------------- the wire */

typedef struct adamoe_wire_timer adamoe_wire_timer;

/* Rows to and from every other rank, 0 up to 4 MB of them, as a layer exchanges them, with experts that compute nothing;
 * half of a round trip of one byte between ranks 0 and 1 is the latency. */
adamoe_status adamoe_wire_timer_open(const adamoe_measure *measure, adamoe_wire_timer **out, double *cost);
void adamoe_wire_timer_close(adamoe_wire_timer *timer);
adamoe_status adamoe_wire_timer_round(adamoe_wire_timer *timer, size_t round);

/* Fills in the network's part; what the model makes of the exchanges that it was fitted to is added to the checks. */
void adamoe_wire_timer_finish(const adamoe_wire_timer *timer, const adamoe_rounds *rounds,
                              adamoe_calibration *out);

#define ADAMOE_EXCHANGE_TIMES 14

/* Seconds of an exchange: bytes of a request to each of the others, and of its outputs, 0 where there are none. */
typedef struct adamoe_exchange_time {
    double request, result, seconds;
} adamoe_exchange_time;

/* Latency, overhead, rendezvous, eager and bandwidth from `count` exchanges by ascending bytes, at least 3, with `peers`
 * others: the shortest, one without outputs or half of one with them, gives overhead, or with one other the latency; least
 * squares of relative errors the others, for each two sizes between which rendezvous may begin. Reads out->chunks. Pure. */
void adamoe_fit_wire(double latency, size_t peers, const adamoe_exchange_time *exchange, size_t count,
                     adamoe_cost_network *out);

/* --------------------------------------------------------------------------------------------------- layers */

typedef struct adamoe_layer_timer adamoe_layer_timer;

/* The preset's layer with null experts and at top-k0 without, at several numbers of tokens of each rank, with overlap and
 * without, in turn; other tokens in each round, the same on both sides (adamoe_selections_pair). */
adamoe_status adamoe_layer_timer_open(const adamoe_measure *measure, adamoe_layer_timer **out);
void adamoe_layer_timer_close(adamoe_layer_timer *timer);

/* Those of this rank. */
adamoe_own_experts adamoe_layer_timer_own(const adamoe_layer_timer *timer);

/* Numbers of tokens; seconds of a round of the first `count` of them. */
size_t adamoe_layer_timer_sizes(const adamoe_layer_timer *timer);
double adamoe_layer_timer_cost(const adamoe_layer_timer *timer, size_t count);
size_t adamoe_layer_timer_tokens(const adamoe_layer_timer *timer, size_t size);
/* Only the first `count` from now on, at least one. */
void adamoe_layer_timer_keep(adamoe_layer_timer *timer, size_t count);
adamoe_status adamoe_layer_timer_round(adamoe_layer_timer *timer, size_t round);

/* Adds what the model says of each to the checks, beside what was measured, and what null experts saved. What can be
 * hidden is fitted to the runs at top-k0 with overlap. After the other two. Errors: memory. */
adamoe_status adamoe_layer_timer_finish(const adamoe_layer_timer *timer, const adamoe_rounds *rounds,
                                        adamoe_calibration *out);

#endif

/*
 * Two builds of the program, timed in turn: which of them is slower, and what work each does.
 *
 * A pair is one measurement of a few milliseconds in each of two long-lived processes, one after the other in
 * random order, so that whatever happens to the machine happens to both. But two processes of one and the
 * same program differ, too, for as long as they live: by where their memory lies. So the processes are
 * started anew for each round, a round counts once, with the median of its pairs, and the test is over
 * rounds. More pairs make a round more precise; only more rounds make a result more significant.
 */
#ifndef ADAMOE_GATE_SPEED_H
#define ADAMOE_GATE_SPEED_H

#include "compare/comparison.h"

enum { ADAMOE_SIDE_BASE, ADAMOE_SIDE_NEW, ADAMOE_GATE_SIDES };

typedef struct adamoe_gate_side {
    const char *program; /* path of the executable */
    const char *plugin;  /* or NULL */
} adamoe_gate_side;

typedef struct adamoe_speed_options {
    adamoe_gate_side side[ADAMOE_GATE_SIDES];
    const char *const *command; /* [commands] processes that bring kernels, to both sides */
    size_t commands;
    const char *preset;
    uint32_t threads;
    uint64_t seed;
    size_t rounds, pairs; /* rounds: at most 200 */
    double seconds;       /* of one measurement, about */
} adamoe_speed_options;

/* What one side does in a case. */
typedef struct adamoe_case_work {
    char error[256]; /* why it does not run there; empty where it does */
    size_t rows, products;
    double executed_flops, touched_bytes, load;
    char bits[32]; /* of the output, in hexadecimal digits */
} adamoe_case_work;

/* One kernel on one number of tokens. */
typedef struct adamoe_speed_case {
    const char *kernel;
    size_t tokens;
    char name[160]; /* "gate/avx2-f32/tokens:64/threads:1" */
    adamoe_case_work work[ADAMOE_GATE_SIDES];
    size_t calls;      /* in one measurement */
    double *log_ratio; /* [rounds] log(new time / base time); the case's own, freed with free() */
} adamoe_speed_case;

/* Fills work[side] of all cases, from a process of that side. Errors: a program that cannot be run or knows
 * no worker (BAD_INPUT), a worker that ends or hangs (ENVIRONMENT). A case that cannot run is no error. */
adamoe_status adamoe_find_work(const adamoe_speed_options *options, int side, adamoe_speed_case *cases,
                               size_t count);

/* Times the cases that run on both sides, after adamoe_find_work for both; calls `progress` after each round.
 * Errors: as adamoe_find_work; a call that fails; memory. */
adamoe_status adamoe_time_cases(const adamoe_speed_options *options, adamoe_speed_case *cases, size_t count,
                                void (*progress)(size_t round, size_t rounds));

/* Adds a test for each case that was timed. */
adamoe_status adamoe_compare_speed(adamoe_result_comparison *comparison, const adamoe_speed_options *options,
                                   const adamoe_speed_case *cases, size_t count);

/* The work of one side, in the form of Google Benchmark's list `benchmarks`; NULL where
 * there is no memory. */
json_t *adamoe_case_work_json(const adamoe_speed_case *cases, size_t count, int side);

/* The ratios of all rounds. */
json_t *adamoe_speed_json(const adamoe_speed_options *options, const adamoe_speed_case *cases, size_t count);

#endif

/*
 * What a build of the program says about itself: the deterministic part of `adamoe gate'.
 */
#ifndef ADAMOE_GATE_COLLECT_H
#define ADAMOE_GATE_COLLECT_H

#include "adamoe.h"

#include <jansson.h>

typedef struct adamoe_collect_options {
    const char *program, *plugin; /* plugin: or NULL */
    const char *const *command;   /* [commands] processes that bring kernels */
    size_t commands;
    const char *const *kernel; /* [kernels] those that are checked; none: all */
    size_t kernels;
    const char *check_case;        /* a part of the names of the cases */
    const char *model, *questions; /* of the evaluation, which the reference computes: the same everywhere */
    size_t limit;                  /* questions */
    uint64_t seed;
    bool is_older; /* it may not know how to count what travels, which is left out then */
} adamoe_collect_options;

/* Runs `check` and `eval` of the program; *check and *evaluation are what they wrote as JSON. Appends to `benchmarks` what the
 * evaluated model's routing would put on the wire if its experts lived on 2 and 4 ranks, in blocks, in turn and by load, as
 * `scale --record` counts it: rows, rows_sent, inputs_sent, request_bytes, result_bytes. That needs no MPI, and is the same
 * on every machine, for the reference routes; a model without a routing to record has none. A check that
 * fails is a result. Errors: a program that cannot be run, or ends otherwise than with 0 or 1, or writes what
 * is no JSON. */
adamoe_status adamoe_collect(const adamoe_collect_options *options, json_t **check, json_t **evaluation,
                             json_t *benchmarks);

/* Reduces {"gate": {...}} to what is the same on every machine: the counts of checks instead of the cases, no
 * times, no bits of outputs, no environment. */
void adamoe_strip_to_baseline(json_t *result);

#endif

/*
 * What `adamoe reproduce` was asked for.
 */
#ifndef ADAMOE_REPRODUCE_OPTIONS_H
#define ADAMOE_REPRODUCE_OPTIONS_H

#include "program/options.h"
#include "reproduce/sides/side_by_side.h"
#include "reproduce/study/study.h"

typedef struct adamoe_reproduce_options {
    adamoe_common_options common;
    adamoe_side_options sides; /* NULL: what ships, or none */
    const char *json;
    bool evaluate_only, claim, full;
    size_t check_every;         /* case of the grid: a look, not the check */
    bool time_sides;            /* what a process that was started anew does */
    adamoe_study_options study; /* of --full */
} adamoe_reproduce_options;

/* Reads the command line; what is wrong with it ends the program with exit code 2, as --help with 0. The strings are those
 * of `arguments`. */
adamoe_reproduce_options adamoe_reproduce_parse(int count, char **arguments);

#endif

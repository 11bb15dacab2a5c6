/*
 * What `adamoe gate` was asked for.
 */
#ifndef ADAMOE_GATE_OPTIONS_H
#define ADAMOE_GATE_OPTIONS_H

#include "compare/comparison.h"
#include "program/options.h"

#define ADAMOE_GATE_KERNELS 16
#define ADAMOE_GATE_TOKENS  4

typedef struct adamoe_gate_options {
    adamoe_common_options common; /* its `kernel` is not used */
    const char *against, *plugin_against, *baseline, *write_baseline;
    const char *kernel[ADAMOE_GATE_KERNELS]; /* [kernels]; none: all of them */
    size_t kernels;
    const char *preset;
    size_t tokens[ADAMOE_GATE_TOKENS], token_counts;
    size_t rounds, pairs, milliseconds; /* rounds 0: as many as it takes */
    const char *check_case, *model, *questions;
    size_t limit;
    bool only_speed;
    adamoe_comparison_options rules;
    const char *markdown, *json;
} adamoe_gate_options;

/* Reads the command line; what is wrong with it ends the program with exit code 2, as --help with 0. The
 * strings are those of `arguments`. */
adamoe_gate_options adamoe_gate_parse(int count, char **arguments);

#endif

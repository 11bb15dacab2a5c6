/*
 * The command line of `adamoe bench`.
 */
#ifndef ADAMOE_BENCH_OPTIONS_H
#define ADAMOE_BENCH_OPTIONS_H

#include "bench/layer.h"
#include "program/options.h"
#include "ranks/options.h"
#include "routers/router_list.h"

/* Kernels, numbers of tokens and numbers of threads that one run can take. */
#define ADAMOE_BENCH_MOST 32

typedef struct adamoe_bench_counts {
    size_t value[ADAMOE_BENCH_MOST];
    size_t count;
} adamoe_bench_counts;

typedef struct adamoe_bench_command {
    adamoe_common_options common;
    adamoe_bench_options layer;
    adamoe_rank_options rank;
    const char *kernel[ADAMOE_BENCH_MOST];
    size_t kernels;
    adamoe_bench_counts tokens, threads; /* no threads: all processors */
    const char *json;
    bool routing_given, saved, train;
    const adamoe_router *router[ADAMOE_BENCH_MOST];
    const char *peers_file;
    adamoe_peers peers;
    size_t own;     /* kernels of the registry that are not of peers */
    size_t routers; /* 0: routing is drawn or recorded, not a router's */
} adamoe_bench_command;

/* Reads the command line without the flags of Google Benchmark; what is wrong with it ends the program with exit code 2, as
 * --help with 0. The strings are those of `arguments`. */
adamoe_bench_command adamoe_bench_parse(int count, char **arguments);

/* What means nothing over ranks: the status names the first such option and says why. */
adamoe_status adamoe_bench_suits_ranks(const adamoe_bench_command *command);

#endif

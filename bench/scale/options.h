/*
 * The options of `adamoe scale`.
 */
#ifndef ADAMOE_SCALE_OPTIONS_H
#define ADAMOE_SCALE_OPTIONS_H

#include "program/options.h"
#include "ranks/options.h"
#include "scale/subject.h"

#define ADAMOE_SCALE_MOST_RANKS  4096
#define ADAMOE_SCALE_RANK_COUNTS 64

typedef struct adamoe_scale_options {
    adamoe_scale_subject_options subject;
    adamoe_common_options common; /* kernel and machine of --calibrate; seed */
    adamoe_rank_options rank;
    const char *calibrate, *calibration, *json;
    adamoe_expert_order order;
    uint32_t ranks[ADAMOE_SCALE_RANK_COUNTS];
    size_t rank_counts;
    bool has_ranks;
    size_t tokens, total, draws;
    double longest; /* seconds of a call that is timed */
    double budget;  /* seconds of all rounds of a calibration */
    size_t wire;    /* 0: as the kernel has it; 1 float32, 2 bfloat16 */
    double latency, overhead, bandwidth, hidden, gflops, gbytes; /* NaN: not given */
} adamoe_scale_options;

/* Nothing is given; ranks from 2 on. The parser fills in what holds then. */
void adamoe_scale_options_begin(adamoe_scale_options *options);

/* Its input is an adamoe_scale_options that has begun. */
extern const struct argp adamoe_scale_argp;

#endif

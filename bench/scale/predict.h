/*
 * What the cost model says of a layer on so many ranks: simulated calls, each with tokens of its own, and the mean and
 * the spread of what they send and take.
 *
 * Experts are spread over groups of ranks. A group has all experts of the layer once, and tokens travel within their
 * group alone: a group is as large as the number of ranks allows, at most one rank for an expert. Groups neither talk to
 * each other nor wait for each other.
 */
#ifndef ADAMOE_SCALE_PREDICT_H
#define ADAMOE_SCALE_PREDICT_H

#include "scale/cost.h"
#include "scale/selections.h"

/* What is predicted for. */
typedef struct adamoe_scale_setting {
    size_t hidden_size;
    adamoe_wire wire;
    adamoe_cost_network network;
    adamoe_cost_compute compute;
    size_t layers;     /* of the model; 1 where only a layer is known */
    double head_flops; /* of a token, once in the model */
    size_t tokens;     /* in one call: of each rank, or of all together */
    bool all_together;
    adamoe_expert_order order;
    size_t draws; /* at least 2, and as many for each layer of the selections */
    uint64_t seed;
} adamoe_scale_setting;

/* One way to select experts. */
typedef struct adamoe_scale_side {
    adamoe_selections selections;
    adamoe_cost_layer layer;
} adamoe_scale_side;

typedef struct adamoe_spread {
    double mean, deviation; /* over the draws */
} adamoe_spread;

typedef struct adamoe_scale_result {
    double load;                       /* of the draws */
    adamoe_spread rows, inputs, bytes; /* sent to other ranks, for a token; bytes both ways */
    adamoe_spread largest_over_mean;   /* rows of the busiest rank */
    adamoe_spread layer_seconds;
    double communication_share; /* of the layer's time */
    double tokens_per_second;   /* of all ranks, through all layers and the head */
    double efficiency;          /* tokens_per_second over `ranks` times that of one rank */
} adamoe_scale_result;

/* Ranks of a group: the largest divisor of `ranks` that is at most `experts`. */
uint32_t adamoe_scale_group(uint32_t ranks, size_t experts);

/* Tokens in one call of a group of a run of `ranks`. */
size_t adamoe_scale_group_tokens(const adamoe_scale_setting *setting, uint32_t ranks, uint32_t group);

/* `alone` is the result of one rank, or NULL to make that one. Errors: memory; those of adamoe_place_experts. */
adamoe_status adamoe_scale_predict(const adamoe_scale_setting *setting, const adamoe_scale_side *side,
                                   uint32_t ranks, const adamoe_scale_result *alone,
                                   adamoe_scale_result *out);

/* What one assignment makes of the judged half of a recording, all layers, in calls of the setting's tokens: exact. */
typedef struct adamoe_scale_count {
    uint64_t tokens;         /* of all layers */
    adamoe_crossing_sum sum; /* largest_over_mean: the mean over layers */
} adamoe_scale_count;

adamoe_status adamoe_scale_count_recorded(const adamoe_scale_setting *setting,
                                          const adamoe_selections *selections, adamoe_expert_order order,
                                          uint32_t ranks, adamoe_scale_count *out);

#endif

/*
 * What a plan costs, and the least time that arithmetic and memory allow for it. Pure accounting: nothing is
 * measured here.
 */
#ifndef ADAMOE_TIMING_ROOFLINE_H
#define ADAMOE_TIMING_ROOFLINE_H

#include "adamoe.h"

/* One true expert. A null expert costs nothing here; its router row is the router's. */
typedef struct adamoe_expert_cost {
    double flops_per_row; /* 6 * hidden_size * intermediate_size */
    double bytes;         /* of its weights as a kernel stores them */
} adamoe_expert_cost;

/* int8 weights have a float32 scale for each output channel of each matrix (reference/README.md section 4). */
adamoe_expert_cost adamoe_expert_cost_of(size_t hidden_size, size_t intermediate_size,
                                         adamoe_arithmetic weight);

/* Executed, never nominal. Bytes are those of the experts that at least one row touches, each once. */
typedef struct adamoe_plan_work {
    size_t rows, touched_experts;
    double flops, bytes;
} adamoe_plan_work;

adamoe_plan_work adamoe_plan_work_of(const adamoe_plan *plan, adamoe_expert_cost cost);

/* Rates that cannot be exceeded: 10^9 operations and 10^9 bytes per second. */
typedef struct adamoe_rates {
    double gflops, gbytes_per_second;
} adamoe_rates;

/* Least seconds of a plan: max(sum of FLOPs / P, sum of bytes / B), and the sum over the experts of
 * the maximum of each, which is what is left where one expert's arithmetic never hides another one's
 * reading. A rate of infinity takes its term out; a rate of 0 makes the limit infinite, unless there
 * is nothing to do. */
typedef struct adamoe_limit {
    double seconds, seconds_without_overlap;
} adamoe_limit;

adamoe_limit adamoe_roofline(const adamoe_plan *plan, adamoe_expert_cost cost, adamoe_rates rates);

/* Whether arithmetic is the larger of the two terms of the plan; reading is otherwise. */
bool adamoe_arithmetic_binds(const adamoe_plan *plan, adamoe_expert_cost cost, adamoe_rates rates);

/* The same at the rates of one moment, where the usual rates decide whether arithmetic or memory binds, an
 * expert and the plan: the larger of two rates that are both uncertain is too large on average, and would
 * flatter whoever is measured by it. */
adamoe_limit adamoe_roofline_now(const adamoe_plan *plan, adamoe_expert_cost cost, adamoe_rates usual,
                                 adamoe_rates now);

#endif

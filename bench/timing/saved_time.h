/*
 * Saved FLOPs against saved time: the whole layer, router included, on the same tokens with null experts and
 * without, in turn.
 */
#ifndef ADAMOE_TIMING_SAVED_TIME_H
#define ADAMOE_TIMING_SAVED_TIME_H

#include "timing/bench_machine.h"
#include "timing/summary.h"
#include "timing/weights.h"
#include "timing/saved_traffic.h"

/* What one side executes over a whole trace. */
typedef struct adamoe_saved_side {
    double load;
    double expert_flops, layer_flops;    /* layer: with the router's product */
    double touched_bytes;                /* of experts, in each call anew */
    double limit, limit_without_overlap; /* seconds that the roofline allows; the router is added to both */
    double seconds;                      /* median over repetitions of the whole trace */
} adamoe_saved_side;

/* Reductions are 1 - adaptive / baseline. */
typedef struct adamoe_saved_point {
    size_t tokens, batches, passes; /* tokens of a call; calls of a trace; traces of a repetition */
    size_t copies_wanted, copies;   /* of the weights: so that they are cold, and as many as memory allows */
    adamoe_saved_side baseline, adaptive;
    double expert_flops_reduction, layer_flops_reduction, touched_bytes_reduction;
    double predicted_time_reduction, predicted_without_overlap; /* by the roofline */
    adamoe_estimate time_reduction;                             /* over pairs, with its 95 % interval */
    bool by_expert;                                             /* sides took turns expert by expert */
    double time_per_flops; /* time_reduction / layer_flops_reduction; NaN where no FLOPs are saved */
    adamoe_interval time_per_flops_interval;
    adamoe_peak peak;
} adamoe_saved_point;

/* Accounting of a trace for weights as `kernel` stores them. Pure. */
void adamoe_saved_account(const adamoe_preset *preset, adamoe_arithmetic weight,
                          const adamoe_saved_trace *trace, adamoe_rates rates, adamoe_saved_point *out);

#define ADAMOE_SAVED_MOST_PAIRS 200

/* Seconds of pairs: baseline[i] and adaptive[i] of the same repetition, 1 to ADAMOE_SAVED_MOST_PAIRS of them. Fills medians and
 * time reductions: 1 less the exponential of Hodges and Lehmann's centre of the logarithms of adaptive over
 * baseline, and its 95 % interval, which is infinite for fewer than 6 pairs. Errors: memory. */
adamoe_status adamoe_saved_judge(const double *baseline, const double *adaptive, size_t count,
                                 adamoe_saved_point *out);

typedef struct adamoe_saved_options {
    adamoe_pattern pattern;
    uint64_t seed;
    size_t repetitions;
    double least_seconds; /* of one side in one repetition */
    size_t least_tokens;  /* of a trace */
} adamoe_saved_options;

/* One kernel at one number of tokens. Within a repetition both sides take turns call by call, and begin by
 * turns; every call goes to weights that are cold. Where a call lasts longer than a shared machine keeps its
 * pace, they take turns expert by expert, each with the rows of one expert: the layer's work without overlap
 * between its experts, if one expert alone is beyond the caches. First both are checked on the first call,
 * and the router on all. Errors: NOT_SUPPORTED; DIFFERENCE; what the kernel reports; memory. */
adamoe_status adamoe_saved_measure(const adamoe_bench_machine *machine, adamoe_bench_weights *weights,
                                   const adamoe_kernel *kernel, size_t tokens,
                                   const adamoe_saved_options *options, adamoe_saved_point *out);

#endif

/*
 * A few timings of one expert layer, for an overview; `adamoe bench` is the instrument.
 */
#ifndef ADAMOE_REPRODUCE_QUICK_THROUGHPUT_H
#define ADAMOE_REPRODUCE_QUICK_THROUGHPUT_H

#include "program/machine.h"

/* One timing: the median over repetitions, with their least and greatest. */
typedef struct adamoe_quick_timing {
    size_t tokens, rows; /* rows of true experts */
    double seconds, least, greatest;
    double gflops; /* executed FLOPs of the experts / median seconds / 1e9 */
} adamoe_quick_timing;

#define ADAMOE_QUICK_TIMINGS 4

/* The layer that is timed. */
typedef struct adamoe_quick_layer {
    size_t hidden_size, intermediate_size, experts, null_experts, top_k;
    double load;
} adamoe_quick_layer;

extern const adamoe_quick_layer adamoe_quick_sizes;

/* Times one kernel at 1, 16, 64 and 256 tokens with balanced routing on that layer. The weights are hot: the
 * same ones each time. Errors: what the kernel reports, memory. */
adamoe_status adamoe_quick_throughput(const adamoe_kernel *kernel, const adamoe_machine *machine,
                                      uint64_t seed, adamoe_quick_timing timings[ADAMOE_QUICK_TIMINGS]);

#endif

/*
 * What a run sent between its ranks, gathered on rank 0, as text and JSON. What the numbers mean:
 * kernels/mpi/README.md.
 */
#ifndef ADAMOE_RANKS_TRAFFIC_H
#define ADAMOE_RANKS_TRAFFIC_H

#include "mpi/counters.h"
#include "adamoe.h"
#include "ranks/options.h"

#include <jansson.h>

/* What one rank has to tell. */
typedef struct adamoe_rank_traffic {
    char machine[64];
    uint32_t threads;
    uint64_t questions, tokens;
    adamoe_rank_counters counters;
    uint64_t predicted_bytes; /* that its tokens cause, there and back */
    uint64_t baseline_bytes;  /* the same for the baseline's top-k0 of the true experts, or 0 */
} adamoe_rank_traffic;

/* Of all ranks, on rank 0. */
typedef struct adamoe_traffic_report {
    uint32_t ranks;
    adamoe_rank_traffic *rank; /* [ranks] */
    const char *experts;       /* where they live */
    const char *recording;     /* by which; else NULL */
    uint32_t chunks;
    uint64_t batch_tokens;  /* a step's tokens for each rank, on average at most; 0: it does not apply */
    bool overlap, bfloat16; /* of inputs on their way */
    char mpi[96];
} adamoe_traffic_report;

/* Sums and ratios of a report; what has no denominator is NaN. */
typedef struct adamoe_traffic_total {
    uint64_t tokens, rows_kept, rows_sent, bytes, predicted_bytes, baseline_bytes;
    double kept_share;             /* rows_kept / (rows_kept + rows_sent) */
    double bytes_reduction;        /* 1 - bytes / baseline_bytes */
    double largest_over_mean_load; /* of the rows that a rank computed */
} adamoe_traffic_total;

/* The name of the machine is filled in. */
adamoe_status adamoe_traffic_gather(const adamoe_world *world, adamoe_rank_traffic own,
                                    adamoe_traffic_report *out);

/* How the run was: where experts live, chunks, overlap, what inputs travel as. */
void adamoe_traffic_describe(adamoe_traffic_report *report, const adamoe_rank_options *options,
                             const adamoe_kernel *kernel);
void adamoe_traffic_report_free(adamoe_traffic_report *report);

adamoe_traffic_total adamoe_traffic_sum(const adamoe_traffic_report *report);
void adamoe_traffic_print(const adamoe_traffic_report *report);
json_t *adamoe_traffic_json(const adamoe_traffic_report *report);

#endif

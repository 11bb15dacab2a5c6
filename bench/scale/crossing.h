/*
 * What crosses between ranks when tokens select experts: rows, inputs and bytes for each pair of ranks (mpi/volume.h),
 * and the rows of each expert. Tokens live on ranks in runs.
 */
#ifndef ADAMOE_SCALE_CROSSING_H
#define ADAMOE_SCALE_CROSSING_H

#include "mpi/volume.h"

typedef struct adamoe_crossing {
    uint32_t ranks;
    size_t experts;
    adamoe_wire wire;
    uint32_t *rank_of_expert; /* [experts] */
    uint64_t tokens, calls;   /* that were added */
    adamoe_volume
        *pair; /* [ranks, ranks] from the rank of a token to that of its expert; the diagonal stays */
    uint64_t *stay, *arrive; /* [experts] rows that it gets from its own rank, and from others */
    adamoe_volume *owner;    /* [ranks] of one rank and one call */
} adamoe_crossing;

/* Nothing counted yet; the assignment is copied. Errors: memory. */
adamoe_status adamoe_crossing_create(uint32_t ranks, size_t experts, const uint32_t *rank_of_expert,
                                     adamoe_wire wire, adamoe_crossing *out);
void adamoe_crossing_free(adamoe_crossing *crossing);
void adamoe_crossing_clear(adamoe_crossing *crossing);

/* Adds a call with id [tokens, top_k]; from `experts` on they are null experts, which send nothing. Rank r has tokens
 * ceil(r tokens / ranks) up to those of the next. */
void adamoe_crossing_add(adamoe_crossing *crossing, const uint32_t *id, size_t tokens, size_t top_k);

/* What was added, all pairs of different ranks together: both ways. */
typedef struct adamoe_crossing_sum {
    uint64_t rows;            /* that are computed anywhere */
    uint64_t rows_sent;       /* that are not computed on their token's rank */
    uint64_t inputs_sent;     /* (token, other rank) with at least one such row: a rank gets a token once */
    uint64_t request_bytes;   /* inputs and what says what to do with them */
    uint64_t result_bytes;    /* outputs */
    double largest_over_mean; /* rows that the busiest rank computes, over their mean; 0 without rows */
} adamoe_crossing_sum;

adamoe_crossing_sum adamoe_crossing_total(const adamoe_crossing *crossing);

#endif

/*
 * What one rank has sent, received and computed since its counters were last cleared.
 */
#ifndef ADAMOE_MPI_COUNTERS_H
#define ADAMOE_MPI_COUNTERS_H

#include <stdint.h>

/* Rows are (input, true expert) pairs of a plan; bytes are those of volume.h. */
typedef struct adamoe_rank_counters {
    uint64_t exchanges; /* calls of a layer that is spread over ranks */
    uint64_t home_rows; /* of this rank's own tokens: rows_kept + rows_sent */
    uint64_t rows_kept; /* computed where their token is */
    uint64_t rows_sent; /* to their owners */
    uint64_t
        rows_served; /* of other ranks' tokens, computed here; rows_kept + rows_served is the load of a rank */
    uint64_t inputs_sent; /* rows of x that went with rows_sent */
    uint64_t bytes_sent;  /* requests and outputs */
    uint64_t bytes_received;
    double seconds;       /* in all exchanges, from begin to end */
    double arithmetic;    /* of those, in the kernel's experts and combine */
    double communication; /* of those, while at least one message was on its way */
    double waiting;       /* of those, in which there was nothing to do but wait for messages */
} adamoe_rank_counters;

#endif

/*
 * The cost model: how long a layer takes when its experts live on several ranks. Pure arithmetic; what it is given was
 * measured (calibration.h) or said by the user.
 *
 * A message of b bytes takes latency + b / bandwidth, and each further one that a rank sends or receives meanwhile
 * another `overhead`. A rank sends and receives at once, `bandwidth` each way:
 *
 *     wire(out, in, peers) = latency + (peers - 1) overhead + rendezvous + max(out, in) / bandwidth
 *
 * and 0 without peers. `rendezvous` counts where the mean message has more bytes than `eager`: MPI asks the receiver
 * before it sends a long message. Requests are one long message for each peer, outputs c of them.
 *
 * One expert with r rows takes what was measured for r, or max(r F / P, W / M): F the FLOPs of a row, W the bytes of the
 * expert's weights, P and M the rates of a rank's arithmetic and memory.
 *
 * For rank r, D is wire() of the requests that it sends and gets, B that of the outputs, S the sum over its experts of
 * the rows of its own tokens, A that of the rows of others. h is the share of a message's time that a rank can compute
 * in, c the number of parts into which an owner cuts its experts. With overlap a rank computes what others want as soon
 * as it is done with its own, whether they are or not; nobody is done before the outputs of the slowest are there:
 *
 *     path(r) = D + S - h min(D, S) + A + B - h (1 - 1/c) min(A, B)
 *     layer   = max over r of home(r) + max over r of path(r)
 *
 * Without overlap one thing begins after the other, everywhere:
 *
 *     layer   = max of home + max of D + max of A + max of B + max of S
 *
 * Ranks may share processors and memory. S and A are what they take while all R ranks compute; a rank alone is faster by
 * a, and of k that compute each is faster by min(a, R / k): so much is there, and no more. Those with less to do are done
 * first, and the rest goes on faster. So in place of max of A and of S, where s(1) <= ... <= s(R) are theirs in order,
 * stands the time of the last (a = 1 makes it the largest):
 *
 *     last(s) = sum over i of (s(i) - s(i - 1)) / min(a, R / (R - i + 1))
 *
 * and the layer with overlap takes max over r of (S + A) - last(S + A) less.
 *
 * home(r) is the router's product, and attention where a model is given, for the tokens of r, at the rate P.
 *
 * Left out: switches and links that ranks share, time that ranks lose by not starting together, memory that a rank runs
 * out of, the routing rule, the sum over a token's experts.
 */
#ifndef ADAMOE_SCALE_COST_H
#define ADAMOE_SCALE_COST_H

#include "scale/crossing.h"

/* What rates and times may be, options and files alike: far beyond any machine, and so that times, their sums and their
 * squares are finite numbers. */
#define ADAMOE_COST_LEAST_RATE   1.0  /* per second */
#define ADAMOE_COST_MOST_RATE    1e21 /* per second */
#define ADAMOE_COST_MOST_SECONDS 1e6

typedef struct adamoe_cost_network {
    double latency, overhead; /* seconds */
    double rendezvous, eager; /* seconds, and bytes */
    double bandwidth;         /* bytes per second, each way */
    double hidden;            /* h, 0 .. 1 */
    uint32_t chunks;          /* c, at least 1 */
    bool overlap;             /* otherwise h does not count */
} adamoe_cost_network;

#define ADAMOE_COST_POINTS 24

/* Seconds of one expert with so many rows, all threads of a rank at it: while all ranks compute, and one alone. */
typedef struct adamoe_cost_point {
    double rows, seconds, alone;
} adamoe_cost_point;

typedef struct adamoe_cost_compute {
    double flops, bytes;                         /* per second: P and M */
    size_t points;                               /* 0: by the rates alone */
    adamoe_cost_point point[ADAMOE_COST_POINTS]; /* by ascending rows, the first of them 1 */
} adamoe_cost_compute;

typedef struct adamoe_cost_layer {
    double row_flops, expert_bytes; /* F and W */
    double home_flops;              /* of a token on its own rank */
} adamoe_cost_layer;

/* `parts`: long messages that what a peer gets is cut into. */
double adamoe_cost_wire(const adamoe_cost_network *network, double out, double in, size_t peers,
                        uint32_t parts);

/* 0 for no rows. Between two points on a straight line, beyond the last one in proportion. */
double adamoe_cost_expert(const adamoe_cost_compute *compute, const adamoe_cost_layer *layer, double rows);

/* Seconds; the maxima over ranks of the parts need not be those of one rank. */
typedef struct adamoe_layer_time {
    double total;
    double home, request, result; /* max over ranks of home, D and B */
    double arithmetic;            /* last of S + A */
    double communication;         /* total less home and arithmetic: what messages add */
} adamoe_layer_time;

/* A crossing with one call of tokens in it. Errors: memory. */
adamoe_status adamoe_cost_of_layer(const adamoe_crossing *crossing, const adamoe_cost_network *network,
                                   const adamoe_cost_compute *compute, const adamoe_cost_layer *layer,
                                   adamoe_layer_time *out);

#endif

/*
 * Options of a verb that runs over ranks, how it begins there, and how it ends: what it prints is printed
 * once.
 */
#ifndef ADAMOE_RANKS_OPTIONS_H
#define ADAMOE_RANKS_OPTIONS_H

#include "mpi/launch.h"
#include "mpi/placement.h"

#include <argp.h>

typedef struct adamoe_rank_options {
    adamoe_expert_order experts; /* where they live */
    const char *recording;       /* of routing, for the orders that read one; else NULL */
    uint32_t chunks;
    bool one_after_the_other; /* nothing is computed while rows travel */
    double patience;          /* seconds */
} adamoe_rank_options;

extern const adamoe_rank_options adamoe_rank_defaults;

/* Whether any of them is other than its default: for a verb, or a form of one, that takes some or none. */
bool adamoe_rank_options_given(const adamoe_rank_options *options);

/* --rank-... as a child parser; its input is an adamoe_rank_options. */
extern const struct argp adamoe_rank_argp;

/* Ends all ranks where the status is an error and there are several, after the first one that still answers
 * has said why; returns otherwise. To be called before anything is freed that a message on its way may
 * need. */
void adamoe_rank_stop(const char *verb, adamoe_ranks *ranks, const adamoe_status *status);

/* As adamoe_finish, once for all ranks: the exit code, or the end of them all. `ranks` may be NULL where
 * they could not be opened. */
int adamoe_rank_finish(const char *verb, adamoe_ranks *ranks, adamoe_status status);

#endif

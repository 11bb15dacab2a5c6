/*
 * What ranks found, brought together on rank 0.
 */
#ifndef ADAMOE_EVAL_GATHER_H
#define ADAMOE_EVAL_GATHER_H

#include "eval/result.h"
#include "mpi/world.h"

/* The log-probabilities of a step, from the rank that each question was run by (steps.h). */
adamoe_status adamoe_gather_outcomes(const adamoe_world *world, const size_t *bound,
                                     const adamoe_prompt *prompt, adamoe_outcome *outcome);

/* The others hand their counts and work over to rank 0, which adds them to its own; they begin from zero again. */
adamoe_status adamoe_gather_counts(const adamoe_world *world, adamoe_scorer *scorer);

/* The sum over all ranks, on rank 0; what they gave, on others. */
adamoe_status adamoe_gather_sum(const adamoe_world *world, double *value);

#endif

/*
 * One expert's part of a plan: its rows alone, for measurements that take the experts of a long call one at a
 * time.
 */
#ifndef ADAMOE_TIMING_PLAN_PART_H
#define ADAMOE_TIMING_PLAN_PART_H

#include "adamoe.h"

typedef struct adamoe_plan_part {
    adamoe_plan plan; /* its inputs and their scales are those of the whole plan */
    uint32_t *memory;
    float *combine;
} adamoe_plan_part;

/* The rows of expert `expert`, with the weights that they have in the whole, which must outlive the part.
 * Identity experts go with expert 0. The parts of all experts add up to the whole. Errors: memory. */
adamoe_status adamoe_plan_part_create(const adamoe_plan *plan, size_t expert, adamoe_plan_part *out);

/* One of zeros is allowed. */
void adamoe_plan_part_free(adamoe_plan_part *part);

#endif

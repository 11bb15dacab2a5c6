/*
 * Which questions are run together, and by which rank: a step is a run of neighbouring questions, cut into
 * one run for each rank by the tokens that they take.
 */
#ifndef ADAMOE_EVAL_STEPS_H
#define ADAMOE_EVAL_STEPS_H

#include "eval/prompt.h"

typedef struct adamoe_step_rule {
    uint32_t ranks;
    size_t batch_tokens; /* of each rank; 0: one question at a time */
} adamoe_step_rule;

/* The step that begins with question `first`: rank r has questions bound[r] .. bound[r+1]-1, bound [ranks +
 * 1]; some may have none. As many questions as come to the batch's tokens, at least one. Returns where the
 * next one begins. */
size_t adamoe_step_bounds(const adamoe_step_rule *rule, const adamoe_prompt *prompt, size_t count,
                          size_t first, size_t *bound);

#endif

/*
 * A plan and its inputs in another order: of tokens, or of experts, or some tokens only.
 */
#ifndef ADAMOE_CHECK_TIERS_ARRANGE_H
#define ADAMOE_CHECK_TIERS_ARRANGE_H

#include "adamoe.h"

/* What is taken from a plan of a routing, in which row i of x is token i. */
typedef struct adamoe_arrangement {
    const uint32_t *token; /* [tokens] new token t is old token[t] */
    size_t tokens;
    const uint32_t *expert; /* [experts] new expert e is old expert[e]; NULL: as they are */
} adamoe_arrangement;

/* The plan, to be freed with adamoe_plan_free. Errors: memory. */
adamoe_status adamoe_arrange_plan(const adamoe_plan *from, adamoe_arrangement arrangement, adamoe_plan **out);

/* out[t] = from[token[t]], rows of `width`. */
void adamoe_arrange_rows(const float *from, adamoe_arrangement arrangement, size_t width, float *out);

#endif

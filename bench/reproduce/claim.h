/*
 * What the paper's own numbers, and a router without any model, say about its claim.
 */
#ifndef ADAMOE_REPRODUCE_CLAIM_H
#define ADAMOE_REPRODUCE_CLAIM_H

#include "adamoe.h"

/* Prints the findings unless `json` is "-", and writes them there where it is not NULL. The seed is that of
 * the random logits. Errors: memory; the file. */
adamoe_status adamoe_claim(uint64_t seed, const char *json);

#endif

/*
 * The whole model on a kernel of the contract: a batch of sequences that share prefixes goes through the
 * layers together, so that experts and projections get all rows at once and a shared prefix is computed once.
 * reference/batch.h says what the result is.
 */
#ifndef ADAMOE_FORWARD_H
#define ADAMOE_FORWARD_H

#include "batch.h"

typedef struct adamoe_forward adamoe_forward;

/* Prepares `model` for `kernel`, which must have the dense product. The model and the team must outlive *out.
 * Where the prepared weights of all layers would exceed `memory` bytes, each layer is prepared when the batch
 * comes to it and released after it: choose large batches then. Errors: NOT_SUPPORTED where the kernel cannot
 * run here or has no dense product; what the kernel's prepare reports; memory. */
adamoe_status adamoe_forward_create(const adamoe_kernel *kernel, const adamoe_model *model,
                                    const adamoe_team *team, const adamoe_placement *placement, size_t memory,
                                    adamoe_forward **out);
void adamoe_forward_free(adamoe_forward *forward);

/* What the kernel says that the experts of the first layer ran on in the last batch; empty before one, and
 * where the kernel is its own code. */
const char *adamoe_forward_implementation(const adamoe_forward *forward);

/* True where all layers are held prepared. */
bool adamoe_forward_is_resident(const adamoe_forward *forward);

/* Runs a batch; hooks as in reference/batch.h, but: `routed` is called once for each layer with all tokens of
 * the batch in the order of their segments, and `logits` from any thread of the team, at the same time for
 * different positions. A hook must not run the team, which is running it, nor the same forward pass; what it
 * is given is valid only until it returns. Errors as adamoe_batch_forward. */
adamoe_status adamoe_forward_batch(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks);

#endif

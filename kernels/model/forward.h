/*
 * The whole model on a kernel of the contract: a batch of sequences that share prefixes goes through the
 * layers together, so that experts and projections get all rows at once and a shared prefix is computed once.
 * reference/batch.h says what the result is.
 */
#ifndef ADAMOE_MODEL_FORWARD_H
#define ADAMOE_MODEL_FORWARD_H

#include "batch.h"
#include "model/forward_stages.h"
#include "model/key_value_cache.h"
#include "routers/model/model_router.h"

typedef struct adamoe_forward adamoe_forward;

/* Prepares `model` for `kernel`, which must have the dense product. The model, the team and what the host and
 * the placement point to must outlive *out; weights are taken from the host as the placement says. Where the
 * prepared weights of all layers would exceed `memory` bytes, each layer is prepared when the batch comes to
 * it and released after it: choose large batches then. Errors: NOT_SUPPORTED where the kernel cannot run here
 * or has no dense product; what the kernel's prepare reports; memory. */
adamoe_status adamoe_forward_create(const adamoe_kernel *kernel, const adamoe_model *model,
                                    const adamoe_team *team, const adamoe_placement *placement,
                                    const adamoe_host *host, size_t memory, adamoe_forward **out);
void adamoe_forward_free(adamoe_forward *forward);

/* Routes by a router of the table in place of the model's rule: by the definition, for all tokens of a batch together.
 * The hook `planned` sees the plans, and `routed` nothing. `router` must outlive the object. Errors (BAD_INPUT): a dense
 * model. */
adamoe_status adamoe_forward_use_router(adamoe_forward *forward, const adamoe_model_router *router);

/* From now on every batch adds the seconds of its stages to `clock`, which must outlive the object; NULL ends it. Packing
 * of inputs belongs to the product that needs it: a kernel does not tell it. */
void adamoe_forward_time_stages(adamoe_forward *forward, adamoe_forward_clock *clock);

/* What the kernel says that the experts of the first layer ran on in the last batch; empty before one, and
 * where the kernel is its own code. */
const char *adamoe_forward_implementation(const adamoe_forward *forward);

/* True where all layers are held prepared. */
bool adamoe_forward_is_resident(const adamoe_forward *forward);

/* Runs a batch; hooks as in reference/batch.h, but: `routed` is called once for each layer with all tokens of
 * the batch in the order of their segments, and `logits` from any thread of the team, at the same time for
 * different positions. A hook must not run the team, which is running it, nor the same forward pass; what it
 * is given is valid only until it returns. A batch that is no larger than one before it allocates nothing,
 * where weights are held, beyond what the kernel's library does. Errors as adamoe_batch_forward. */
adamoe_status adamoe_forward_batch(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks);

/* A token whose log-probability is wanted, given all up to token `position` of segment `segment`. */
typedef struct adamoe_target {
    size_t segment, position;
    uint32_t token;
} adamoe_target;

/* Runs a batch for the log-probabilities of some tokens: log_probability[t] = log softmax(logits that follow
 * target[t].position)[target[t].token]. Targets ascend by segment, then position; one position may have
 * several. The logits themselves are gathered block by block and not kept; hooks->logits and the segments'
 * logits_from are not looked at. Errors as above; BAD_INPUT for targets out of order or out of range. */
adamoe_status adamoe_forward_score(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks, const adamoe_target *target,
                                   size_t targets, double *log_probability);

/* Runs tokens that follow those in `cache`, which receives them; a failure leaves it as it was. The hooks see
 * one segment that begins with the first of these tokens; `logits` is called for the last one alone. The
 * results have the same bits as in one batch with all tokens of the sequence, where the kernel's have them
 * for any batch-mates. Errors as above; BAD_INPUT for no token, for more than the cache has room for, and for
 * a cache of another model's sizes. */
adamoe_status adamoe_forward_continue(adamoe_forward *forward, adamoe_key_value_cache *cache,
                                      const uint32_t *token, size_t count, const adamoe_batch_hooks *hooks);

#endif

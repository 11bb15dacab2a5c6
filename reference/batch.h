/*
 * A batch of sequences that share prefixes: a question is run once, each of its choices continues from it.
 * Here is what a batch means; kernels/model/forward.h runs one fast.
 */
#ifndef ADAMOE_BATCH_H
#define ADAMOE_BATCH_H

#include "flops.h"
#include "model.h"

/* A run of tokens that begins a sequence or continues a whole earlier segment of the batch. */
typedef struct adamoe_segment {
    const uint32_t *token; /* [count] */
    size_t count;          /* at least 1 */
    size_t parent;         /* index of an earlier segment, or ADAMOE_NO_PARENT */
    size_t logits_from;    /* logits are wanted for the tokens logits_from .. count-1; count for none */
} adamoe_segment;

/* What a caller sees of a run. Each may be NULL, apart from `context` all are independent.
 *   planned: the plan of the tokens in a layer, where a router of the table made it, in place of `routed`.
 *   routed: the routing of some of the batch's tokens in a layer; every token is in one call per layer.
 *   logits: those that follow token `position` of segment `segment`, [vocab_size], valid during the call. */
typedef struct adamoe_batch_hooks {
    void *context;
    void (*routed)(void *context, size_t layer, const adamoe_routing *routing);
    void (*logits)(void *context, size_t segment, size_t position, const float *logits);
    void (*planned)(void *context, size_t layer, const adamoe_plan *plan);
} adamoe_batch_hooks;

/* Errors (BAD_INPUT): a segment that is empty, or whose parent is not before it; a token outside the
 * vocabulary. Both ways of running a batch start with it. */
adamoe_status adamoe_batch_check(const adamoe_config *config, const adamoe_segment *segment, size_t count);

/* The position of a segment's first token in its sequence. */
size_t adamoe_segment_start(const adamoe_segment *segment, size_t index);

/* The work of a batch except for the rows of experts, which routing decides. */
adamoe_work adamoe_batch_work(const adamoe_config *config, const adamoe_segment *segment, size_t count);

/* Runs the batch with adamoe_model_forward, one segment after the other; a segment that continues another
 * starts from a cache that was cut back to the end of that one, or was filled again with its ancestors (which
 * the hooks do not see a second time). `routed` is called once per segment and layer, with the segment's
 * tokens in their order; without the hook `logits` the head is not computed. Errors name the segment, and a
 * token by its place in it. */
adamoe_status adamoe_batch_forward(const adamoe_model *model, const adamoe_segment *segment, size_t count,
                                   const adamoe_batch_hooks *hooks);

/* log sum exp(logits), in double: log softmax(logits)[v] = logits[v] - that. */
double adamoe_log_sum_exp(const float *logits, size_t vocab_size);

#endif

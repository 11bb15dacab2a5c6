/*
 * Attention over a batch of sequences that share prefixes, on all threads of a team: the program's own
 * implementation of adamoe_kernel.attention.
 */
#ifndef ADAMOE_MODEL_SPAN_ATTENTION_H
#define ADAMOE_MODEL_SPAN_ATTENTION_H

#include "adamoe.h"
#include "model.h"

/* A call of a model's heads and window, still without spans and arrays. */
adamoe_attention_call adamoe_attention_call_of(const adamoe_config *config);

/* Bytes of workspace for adamoe_span_attention with a team of at most `threads`. */
size_t adamoe_span_attention_work_bytes(const adamoe_attention_call *call, uint32_t threads);

/* Fills call->mixed, as adamoe_attention_call says; in float32. A query's result has the same bits however
 * its sequence is cut into spans, whatever else is in the call, and for any number of threads: scores are
 * summed over the head, weights and values over positions, each in one order. Errors (BAD_INPUT): a workspace
 * that is too small; a span whose parent is not before it, that does not start where its parent ends, or that
 * skips more than it has. */
adamoe_status adamoe_span_attention(const adamoe_run *run, const adamoe_attention_call *call);

#endif

/*
 * Right before fast: the result of the very call that is timed, judged before the first time is taken.
 */
#ifndef ADAMOE_TIMING_JUDGE_H
#define ADAMOE_TIMING_JUDGE_H

#include "layers/traffic.h"

/* Judges y [tokens, hidden_size], what `kernel` made of a batch: every element is finite, and of some tokens
 * all channels lie within the yardstick's bound. The last token, where tails are, and the first one are
 * always among them; others follow, evenly spread, as long as the yardstick takes about a second a thread.
 * Errors: DIFFERENCE, with token and channel; memory. */
adamoe_status adamoe_bench_check(const adamoe_kernel *kernel, const adamoe_layer *layer,
                                 const adamoe_traffic_batch *batch, size_t tokens, const float *y,
                                 const adamoe_team *team);

/* Marks the experts whose weights the check of such a plan reads: those of the tokens that are judged. reads is
 * [layer->experts]; of the layer only its sizes count. */
void adamoe_bench_check_reads(const adamoe_layer *layer, const adamoe_plan *plan, bool *reads);

#endif

/*
 * The roofline of the moment: what the machine could have done around each repetition of a measurement.
 *
 * On a shared machine a core is worth half of itself for seconds at a time. Time over the limit of the best
 * burst then tells how often that happened, not how good a kernel is. Here repetition i, which took t_i, is
 * divided into a limit of its own:
 *
 *   share_i = max(FLOPs / P_i, bytes / B_i) / t_i
 *
 * P_i and B_i are the means of the rates just before and just after repetition i, of one instruction path and
 * one way to read (peak_meter.h): what is done in a time is the mean rate times the time. Which of the two
 * terms is the larger one is decided once, by the medians of P and B over the run (roofline.h). A burst that
 * was disturbed alone makes one share too large, a repetition that was disturbed alone makes one too small;
 * the median over repetitions stands for all (timing/summary.h).
 *
 * What this cannot see: a change of pace that is shorter than a repetition and falls between its bursts.
 */
#ifndef ADAMOE_TIMING_PAIRED_LIMIT_H
#define ADAMOE_TIMING_PAIRED_LIMIT_H

#include "timing/peak_meter.h"
#include "timing/roofline.h"

/* limit[i], i < count: for a repetition between burst before[i] and the one that follows it. hot_rate is
 * that at which weights are read that are hot (adamoe_hot_rate), whatever the moment; 0: they are cold. NaN where no instruction path for the operands runs. */
void adamoe_paired_limits(const adamoe_plan *plan, adamoe_expert_cost cost, const adamoe_peak *peak,
                          const size_t *before, size_t count, double hot_rate, adamoe_limit *limit);

/* Slices of a burst beside repetitions that last so many seconds: a twentieth of them, within reason. */
size_t adamoe_burst_slices(double seconds);

#endif

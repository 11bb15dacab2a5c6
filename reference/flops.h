/*
 * Counting FLOPs as executed: a multiply-add is 2, a null expert costs its router row and nothing else
 * (reference/README.md section 6).
 */
#ifndef ADAMOE_FLOPS_H
#define ADAMOE_FLOPS_H

#include "model.h"

/* Exact counts up to 2^64 - 1, beyond which they wrap: 10^19 FLOPs, some hundred million tokens of a model
 * with 5 * 10^10 active parameters. */
typedef struct adamoe_flops {
    uint64_t experts, router, attention, head, total;
} adamoe_flops;

/* What was executed. Only expert_rows differ from layer to layer and are added up over them; the other counts
 * are those of one pass, and adamoe_count_flops multiplies by the layers where each has the work. */
typedef struct adamoe_work {
    uint64_t tokens;         /* positions processed, counted once for the whole model */
    uint64_t expert_rows;    /* (token, layer, selected true expert) */
    uint64_t visible_keys;   /* pairs (query, visible key) of one layer */
    uint64_t head_positions; /* positions whose logits were computed */
} adamoe_work;

/* FLOPs of `work` on a model with `null_experts` null experts (config->null_experts is not read, so that the
 * baseline of the same work can be counted with 0). */
adamoe_flops adamoe_count_flops(const adamoe_config *config, size_t null_experts, const adamoe_work *work);

/* The baseline that a reduction is measured against: the same tokens, no null expert, top-k0. */
adamoe_work adamoe_baseline_work(const adamoe_config *config, const adamoe_work *work, size_t baseline_k);

/* The mean number of true experts per token and layer; 0 without tokens. */
double adamoe_load(const adamoe_config *config, const adamoe_work *work);

/* 1 - load / k0. */
double adamoe_expert_flops_reduction(double load, size_t baseline_k);

/* 1 - executed / baseline of the totals; 0 for an empty baseline. */
double adamoe_model_flops_reduction(const adamoe_flops *executed, const adamoe_flops *baseline);

/* FLOPs per token by part where the load is a mean, not a count: head_share is the share of positions whose
 * logits are computed (1 for every position). */
typedef struct adamoe_token_flops {
    double experts, router, attention, head, total;
} adamoe_token_flops;

adamoe_token_flops adamoe_flops_per_token(const adamoe_config *config, size_t null_experts, double load,
                                          double visible_keys, double head_share);

/* Keys that the query at `position` sees, itself included. */
size_t adamoe_visible_keys(const adamoe_config *config, size_t position);

#endif

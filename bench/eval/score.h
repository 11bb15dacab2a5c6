/*
 * Scoring prompts with a model: the log-probability of each choice, and what the run cost.
 */
#ifndef ADAMOE_EVAL_SCORE_H
#define ADAMOE_EVAL_SCORE_H

#include "flops.h"
#include "model/forward.h"
#include "eval/prompt.h"
#include "eval/routing_record.h"
#include "eval/wire_count.h"
#include "train/lora/lora_network.h"

/* What routing did, counted over all tokens that were processed. */
typedef struct adamoe_route_counts {
    size_t routers; /* of a layer: 1, or one for each map of a dense layer; counts are of all together */
    size_t layers, top_k;  /* the most true experts of a token, or more */
    uint64_t *expert_rows; /* [layers] (token, selected true expert) */
    uint64_t *histogram;   /* [layers, top_k + 1] tokens by number of true experts */
    uint64_t *selections;  /* [layers, experts] rows; of null experts too, but not of a router's */
    size_t experts;
} adamoe_route_counts;

/* Who runs the batches: the naive model or a prepared one; or adapters on a base, naively or by a network. */
typedef struct adamoe_scorer {
    const adamoe_model *model;
    adamoe_forward *forward;            /* NULL: reference/batch.h */
    const adamoe_lora_model *adapted;   /* NULL: none */
    adamoe_lora_network *network;       /* NULL: reference/lora/lora_model.h */
    uint64_t adapted_rows[ADAMOE_MAPS]; /* (token, layer, selected true expert) of each map */
    adamoe_route_counts counts;
    adamoe_work work;              /* expert_rows included */
    adamoe_routing_record *record; /* NULL unless asked for */
    adamoe_wire_count *wire;       /* of rows between ranks; NULL where there are none */
} adamoe_scorer;

/* `forward` may be NULL. Where it is `routed` by a router of the table a token may have every true expert. Errors:
 * memory. */
adamoe_status adamoe_scorer_create(const adamoe_model *model, adamoe_forward *forward, bool record_routing,
                                   bool routed, adamoe_scorer *out);
/* The same for adapters; `network` may be NULL. */
adamoe_status adamoe_scorer_create_adapted(const adamoe_lora_model *model, adamoe_lora_network *network,
                                           adamoe_scorer *out);
void adamoe_scorer_free(adamoe_scorer *scorer);

/* Runs the prompts as one batch. logprob[p][c] receives the summed log-probability of choice c of prompt p.
 * Adds to the scorer's counts and work. */
adamoe_status adamoe_score(adamoe_scorer *scorer, const adamoe_prompt *prompt, size_t count,
                           double *const *logprob);

/* The work of prompts that routing does not decide: *out has no expert_rows. Errors: memory. */
adamoe_status adamoe_prompts_work(const adamoe_config *config, const adamoe_prompt *prompt, size_t count,
                                  adamoe_work *out);

/* Tokens that a prompt adds to a batch. */
size_t adamoe_prompt_tokens(const adamoe_prompt *prompt);

#endif

/*
 * A frozen dense model (Llama, Mistral, Qwen2, Qwen3) whose seven linear maps of each layer carry LoRA experts, naive
 * and in double: what it computes, its training loss, and its FLOPs. Biases and norms of the base come behind the
 * maps, as they are. kernels/train/lora/lora_network.h does it fast.
 */
#ifndef ADAMOE_LORA_LORA_MODEL_H
#define ADAMOE_LORA_LORA_MODEL_H

#include "batch.h"
#include "gradient/gradient_model.h"
#include "lora/lora_experts.h"

/* The maps of a layer, in the order in which they are computed. */
enum {
    ADAMOE_MAP_Q,
    ADAMOE_MAP_K,
    ADAMOE_MAP_V,
    ADAMOE_MAP_O,
    ADAMOE_MAP_GATE,
    ADAMOE_MAP_UP,
    ADAMOE_MAP_DOWN,
    ADAMOE_MAPS
};

/* "self_attn.q_proj", ..., "mlp.down_proj". */
extern const char *const adamoe_map_names[ADAMOE_MAPS];

/* The frozen matrix of a map of a dense block. */
const adamoe_matrix *adamoe_block_map(const adamoe_block *block, size_t map);

/* [out, in] of a map, from the config alone. */
typedef struct adamoe_map_size {
    size_t out, in;
} adamoe_map_size;

adamoe_map_size adamoe_map_size_of(const adamoe_config *config, size_t map);

/* What all maps have in common. */
typedef struct adamoe_lora_sizes {
    size_t experts, null_experts, rank;
    double alpha;
    bool routed; /* false: plain LoRA, n = 1 */
    adamoe_rule rule;
} adamoe_lora_sizes;

typedef struct adamoe_lora_model {
    const adamoe_model *base; /* dense */
    adamoe_lora_sizes sizes;
    const adamoe_lora_experts *map; /* [layers, ADAMOE_MAPS] */
} adamoe_lora_model;

/* Errors (BAD_INPUT): a base that is not dense; sizes of 0; plain LoRA with other sizes than n = 1, m = 0, k
 * = 1; a top_k outside 1 .. n + m; identity experts; sizes that overflow. */
adamoe_status adamoe_lora_sizes_check(const adamoe_config *base, const adamoe_lora_sizes *sizes);

/* The loss of a batch. The balance loss is one of ADAMOE_MAPS routers for each layer, layer by layer in the
 * order of the maps; `observer` sees their routings with such a number for a layer, 7 * layer + map. Plain
 * LoRA has neither. Errors as adamoe_model_loss. */
adamoe_status adamoe_lora_model_loss(const adamoe_lora_model *model, const adamoe_training_batch *batch,
                                     const adamoe_objective *objective, const adamoe_observer *observer,
                                     adamoe_training_loss *loss);

/* Runs a batch as adamoe_batch_forward does, each segment with its ancestors anew; `routed` as above, for the
 * segment's own tokens. Errors as there. */
adamoe_status adamoe_lora_model_batch(const adamoe_lora_model *model, const adamoe_segment *segment,
                                      size_t count, const adamoe_batch_hooks *hooks);

/* What was executed: adapted[map] counts the rows (token, layer, selected true expert) of that map. */
typedef struct adamoe_lora_work {
    adamoe_work base; /* tokens, visible_keys and head_positions; expert_rows of all maps together */
    uint64_t adapted[ADAMOE_MAPS];
} adamoe_lora_work;

/* A LoRA expert costs 2 r (in + out) for each of its rows, a router 2 in (n + m) for each token. Attention,
 * feed-forward layers and head are those of the dense model; null_experts counts for routers alone. */
typedef struct adamoe_lora_flops {
    uint64_t attention, feed_forward, experts, router, head, total;
} adamoe_lora_flops;

adamoe_lora_flops adamoe_lora_count_flops(const adamoe_config *config, const adamoe_lora_sizes *sizes,
                                          size_t null_experts, const adamoe_lora_work *work);

/* The baseline: the same tokens, no null expert, top-k0 in every map. */
adamoe_lora_work adamoe_lora_baseline_work(const adamoe_config *config, const adamoe_lora_work *work,
                                           size_t baseline_k);

#endif

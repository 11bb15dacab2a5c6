/*
 * Layers of published models, as sizes. Where a model has no null experts, every selected expert is true.
 * Mixtral is the one that AdaMoE was published with: 8 null experts, top-3, and the load that the paper
 * measures on ARC-Challenge. longcat-like has the proportions of LongCat-Flash, a third of its experts
 * identities, at a size that fits small machines; a router that does not care which are null selects 8 true
 * ones of 12. A dense model is a layer of one expert, which every token selects; a shared expert is not part of
 * a layer here. hidden_size, intermediate_size, n and k are those of the published config.json.
 */
#include "layers/presets.h"

const adamoe_preset adamoe_presets[ADAMOE_PRESETS] = {
    {"tiny", 64, 96, {8, 8, 3}, ADAMOE_NULL_ZERO, 1.67, 2, ADAMOE_F32},
    {"olmoe", 2048, 1024, {64, 0, 8}, ADAMOE_NULL_ZERO, 8.0, 8, ADAMOE_BF16},
    {"mixtral-8x7b", 4096, 14336, {8, 8, 3}, ADAMOE_NULL_ZERO, 1.67, 2, ADAMOE_BF16},
    {"qwen3-30b-a3b", 2048, 768, {128, 0, 8}, ADAMOE_NULL_ZERO, 8.0, 8, ADAMOE_BF16},
    {"longcat-like", 3072, 1024, {64, 32, 12}, ADAMOE_NULL_IDENTITY, 8.0, 12, ADAMOE_BF16},
    {"qwen1.5-moe-a2.7b", 2048, 1408, {60, 0, 4}, ADAMOE_NULL_ZERO, 4.0, 4, ADAMOE_BF16},
    {"granite-3.0-1b-a400m", 1024, 512, {32, 0, 8}, ADAMOE_NULL_ZERO, 8.0, 8, ADAMOE_BF16},
    {"mistral-7b", 4096, 14336, {1, 0, 1}, ADAMOE_NULL_ZERO, 1.0, 1, ADAMOE_BF16},
    {"qwen2.5-7b", 3584, 18944, {1, 0, 1}, ADAMOE_NULL_ZERO, 1.0, 1, ADAMOE_BF16},
    {"qwen3-8b", 4096, 12288, {1, 0, 1}, ADAMOE_NULL_ZERO, 1.0, 1, ADAMOE_BF16},
};

const char *const adamoe_preset_names[ADAMOE_PRESETS] = {
    "tiny",
    "olmoe",
    "mixtral-8x7b",
    "qwen3-30b-a3b",
    "longcat-like",
    "qwen1.5-moe-a2.7b",
    "granite-3.0-1b-a400m",
    "mistral-7b",
    "qwen2.5-7b",
    "qwen3-8b",
};

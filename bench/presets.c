/*
 * Layers of published models, as sizes. Where a model has no null experts, every selected expert is true.
 * Mixtral is the one that AdaMoE was published with: 8 null experts, top-3, and the load that the paper
 * measures on ARC-Challenge.
 */
#include "presets.h"

const adamoe_preset adamoe_presets[ADAMOE_PRESETS] = {
    {"tiny", 64, 96, {8, 8, 3}, 1.67, ADAMOE_F32},
    {"olmoe", 2048, 1024, {64, 0, 8}, 8.0, ADAMOE_BF16},
    {"mixtral-8x7b", 4096, 14336, {8, 8, 3}, 1.67, ADAMOE_BF16},
    {"qwen3-30b-a3b", 2048, 768, {128, 0, 8}, 8.0, ADAMOE_BF16},
};

const char *const adamoe_preset_names[ADAMOE_PRESETS] = {"tiny", "olmoe", "mixtral-8x7b", "qwen3-30b-a3b"};

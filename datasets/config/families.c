/*
 * The table of families. A new one is a row here; what is new in its architecture is a field of
 * adamoe_architecture, and what has no key yet a column.
 */
#include "config/families.h"

#include <string.h>

/* Keys that are read, or say nothing where use_sliding_window is false. */
static const char *const llama_keys[] = {"attention_bias", NULL};
static const char *const qwen_keys[] = {"max_window_layers", NULL};
static const char *const qwen3_keys[] = {"attention_bias", "max_window_layers", NULL};
static const char *const olmoe_keys[] = {"attention_bias", "clip_qkv", "norm_topk_prob", NULL};
static const char *const qwen3_moe_keys[] = {"attention_bias", "max_window_layers", "norm_topk_prob", NULL};
static const char *const qwen2_moe_keys[] = {"max_window_layers", "norm_topk_prob", "qkv_bias",
                                             "shared_expert_intermediate_size", NULL};
static const char *const granite_keys[] = {"attention_bias", "attention_multiplier", "embedding_multiplier",
                                           "logits_scaling", "residual_multiplier",  NULL};

static const adamoe_family families[] = {
    {.name = "MixtralForCausalLM",
     .model_type = "mixtral",
     .architecture = {.naming = ADAMOE_NAMED_SPARSE},
     .window = ADAMOE_WINDOW_IF_SAID,
     .experts = true,
     .key_value_heads = true,
     .rope_theta = 1e6},
    {.name = "LlamaForCausalLM",
     .model_type = "llama",
     .architecture = {.dense = true},
     .keys = llama_keys,
     .rope_theta = 1e4},
    {.name = "MistralForCausalLM",
     .model_type = "mistral",
     .architecture = {.dense = true},
     .window = ADAMOE_WINDOW_IF_SAID,
     .key_value_heads = true,
     .rope_theta = 1e4,
     .sliding_window = 4096},
    {.name = "Qwen2ForCausalLM",
     .model_type = "qwen2",
     .architecture = {.dense = true, .biases = true},
     .window = ADAMOE_WINDOW_IF_USED,
     .keys = qwen_keys,
     .key_value_heads = true,
     .rope_theta = 1e4},
    {.name = "Qwen3ForCausalLM",
     .model_type = "qwen3",
     .architecture = {.dense = true, .query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS},
     .window = ADAMOE_WINDOW_IF_USED,
     .keys = qwen3_keys,
     .key_value_heads = true,
     .rope_theta = 1e4,
     .head_dim = 128},
    {.name = "OlmoeForCausalLM",
     .model_type = "olmoe",
     .architecture = {.query_key_norm = ADAMOE_QUERY_KEY_NORM_WIDTH, .naming = ADAMOE_NAMED_SINGLE},
     .experts = true,
     .keys = olmoe_keys,
     .normalises_if_said = true,
     .rope_theta = 1e4},
    {.name = "Qwen3MoeForCausalLM",
     .model_type = "qwen3_moe",
     .architecture = {.query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS, .naming = ADAMOE_NAMED_SINGLE},
     .window = ADAMOE_WINDOW_IF_USED,
     .experts = true,
     .expert_size = "moe_intermediate_size",
     .keys = qwen3_moe_keys,
     .normalises_if_said = true,
     .key_value_heads = true,
     .rope_theta = 1e4},
    {.name = "Qwen2MoeForCausalLM",
     .model_type = "qwen2_moe",
     .architecture = {.biases = true, .shared_expert = true, .naming = ADAMOE_NAMED_SINGLE},
     .window = ADAMOE_WINDOW_IF_USED,
     .experts = true,
     .expert_size = "moe_intermediate_size",
     .keys = qwen2_moe_keys,
     .normalises_if_said = true,
     .key_value_heads = true,
     .rope_theta = 1e4},
    {.name = "GraniteMoeForCausalLM",
     .model_type = "granitemoe",
     .architecture = {.multipliers = true, .naming = ADAMOE_NAMED_LINEAR},
     .experts = true,
     .keys = granite_keys,
     .rope_theta = 1e4},
    {.name = "LongcatFlashForCausalLM",
     .model_type = "longcat_flash",
     .why_not = "is not implemented: its attention is multi-head latent, and twice in a layer; "
                "datasets/convert/longcat_layer.py takes out an expert layer, which `adamoe layer' computes"},
};

#define FAMILIES (sizeof families / sizeof *families)

const adamoe_family *adamoe_family_named(const char *name)
{
    for (size_t i = 0; i < FAMILIES; ++i) {
        if (strcmp(families[i].name, name) == 0) {
            return &families[i];
        }
    }
    return NULL;
}

const adamoe_family *adamoe_family_of_type(const char *model_type)
{
    for (size_t i = 0; i < FAMILIES; ++i) {
        if (strcmp(families[i].model_type, model_type) == 0) {
            return &families[i];
        }
    }
    return NULL;
}

/*
 * See keys.h: lists of keys by what they do.
 */
#include "config/keys.h"

#include <string.h>

/* Keys whose value is read. */
static const char *const read_keys[] = {
    "architectures",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "vocab_size",
};

/* Of models with a router, whatever their family. */
static const char *const router_keys[] = {
    "norm", "null_kind", "num_experts", "num_experts_per_tok", "num_local_experts", "num_null_experts"};

/* Keys that concern training alone: initial values, dropout, losses of the router. */
static const char *const training_keys[] = {
    "attention_dropout",   "attention_probs_dropout_prob",
    "attn_pdrop",          "aux_loss_alpha",
    "classifier_dropout",  "dropout",
    "embd_pdrop",          "gradient_checkpointing",
    "hidden_dropout",      "hidden_dropout_prob",
    "initializer_range",   "neftune_noise_alpha",
    "resid_pdrop",         "router_aux_loss_coef",
    "router_jitter_noise", /* applied while training only */
    "router_z_loss_coef",  "seq_aux",
};

/* Keys that say how a library stores, splits, labels or returns things. */
static const char *const library_keys[] = {
    "attn_implementation",
    "auto_map", /* code that comes with a folder; the architecture is read from `architectures` all the same */
    "chunk_size_feed_forward",
    "custom_pipelines",
    "dtype",
    "finetuning_task",
    "id2label",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "max_sequence_length",
    "model_max_length",
    "name_or_path",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pretraining_tp", /* splits a product into parts of the same sum */
    "problem_type",
    "return_dict",
    "task_specific_params",
    "tf_legacy_loss",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention",
    "use_flash_attention_2",
};

/* Keys of tokens that are not looked at, and of how a text is drawn: text here is greedy (generation_config.h). */
static const char *const generation_keys[] = {
    "bad_words_ids",
    "begin_suppress_tokens",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "pad_token_id",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "unk_token_id",
};

/* Keys that are allowed with the one value that changes nothing, beside null. */
typedef enum neutral_value { NEUTRAL_FALSE, NEUTRAL_ONE, NEUTRAL_EMPTY, NEUTRAL_NULL } neutral_value;

static const struct neutral_key {
    const char *key;
    neutral_value value;
} neutral_keys[] = {
    {"add_cross_attention", NEUTRAL_FALSE},
    {"attention_bias", NEUTRAL_FALSE},
    {"clip_qkv", NEUTRAL_NULL},
    {"decoder_sparse_step", NEUTRAL_ONE},
    {"is_encoder_decoder", NEUTRAL_FALSE},
    {"mlp_bias", NEUTRAL_FALSE},
    {"mlp_only_layers", NEUTRAL_EMPTY},
    {"partial_rotary_factor", NEUTRAL_ONE},
    {"pruned_heads", NEUTRAL_EMPTY},
    {"quantization_config", NEUTRAL_NULL},
    {"rope_interleaved", NEUTRAL_FALSE},
    {"tie_encoder_decoder", NEUTRAL_FALSE},
    {"use_mrope", NEUTRAL_FALSE},
    {"use_sliding_window", NEUTRAL_FALSE}, /* true: of some layers alone */
};

static bool is_neutral(neutral_value wanted, const json_t *value)
{
    switch (wanted) {
    case NEUTRAL_FALSE:
        return json_is_false(value);
    case NEUTRAL_ONE:
        return json_is_number(value) && json_number_value(value) == 1.0;
    case NEUTRAL_EMPTY:
        return json_object_size(value) == 0 && json_array_size(value) == 0 &&
               (json_is_object(value) || json_is_array(value));
    case NEUTRAL_NULL:
        break;
    }
    return false;
}

static const struct neutral_key *neutral(const char *key)
{
    for (size_t i = 0; i < sizeof neutral_keys / sizeof *neutral_keys; ++i) {
        if (strcmp(neutral_keys[i].key, key) == 0) {
            return &neutral_keys[i];
        }
    }
    return NULL;
}

static bool changes_nothing(const char *key)
{
    return ADAMOE_CONFIG_IS_AMONG(key, training_keys) || ADAMOE_CONFIG_IS_AMONG(key, library_keys) ||
           ADAMOE_CONFIG_IS_AMONG(key, generation_keys);
}

static bool is_of_family(const char *key, const adamoe_family *family)
{
    for (size_t i = 0; family->keys != NULL && family->keys[i] != NULL; ++i) {
        if (strcmp(key, family->keys[i]) == 0) {
            return true;
        }
    }
    return family->expert_size != NULL && strcmp(key, family->expert_size) == 0;
}

static adamoe_status check_key(const adamoe_config_reader *reader, const char *key, const json_t *value)
{
    const adamoe_family *family = reader->family;
    const struct neutral_key *allowed = is_of_family(key, family) ? NULL : neutral(key);
    if (allowed != NULL) {
        return is_neutral(allowed->value, value) ? adamoe_ok()
                                                 : adamoe_config_error(reader, key, "not implemented");
    }
    const bool of_router = ADAMOE_CONFIG_IS_AMONG(key, router_keys);
    if (of_router && !family->experts) {
        return adamoe_config_error(reader, key, "%s has no router", family->name);
    }
    if (is_of_family(key, family) || ADAMOE_CONFIG_IS_AMONG(key, router_keys) ||
        ADAMOE_CONFIG_IS_AMONG(key, read_keys) || changes_nothing(key)) {
        return adamoe_ok();
    }
    return adamoe_config_error(reader, key, "unknown key, which might change what is computed");
}

adamoe_status adamoe_config_check_keys(const adamoe_config_reader *reader)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)reader->root, key, value)
    {
        if (!json_is_null(value) && key[0] != '_') {
            ADAMOE_TRY(check_key(reader, key, value));
        }
    }
    return adamoe_ok();
}

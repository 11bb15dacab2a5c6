/*
 * Reading config.json: what Hugging Face writes is understood, and whatever is not implemented is refused by
 * name.
 */
#include "config/config.h"
#include "temporary_folder.h"

/* The config of Mixtral-8x7B: the sizes are public facts. */
static const char mixtral[] = "{"
                              "\"architectures\": [\"MixtralForCausalLM\"],"
                              "\"attention_dropout\": 0.0,"
                              "\"bos_token_id\": 1,"
                              "\"eos_token_id\": 2,"
                              "\"hidden_act\": \"silu\","
                              "\"hidden_size\": 4096,"
                              "\"initializer_range\": 0.02,"
                              "\"intermediate_size\": 14336,"
                              "\"max_position_embeddings\": 32768,"
                              "\"model_type\": \"mixtral\","
                              "\"num_attention_heads\": 32,"
                              "\"num_experts_per_tok\": 2,"
                              "\"num_hidden_layers\": 32,"
                              "\"num_key_value_heads\": 8,"
                              "\"num_local_experts\": 8,"
                              "\"output_router_logits\": false,"
                              "\"rms_norm_eps\": 1e-05,"
                              "\"rope_theta\": 1000000.0,"
                              "\"router_aux_loss_coef\": 0.02,"
                              "\"sliding_window\": null,"
                              "\"tie_word_embeddings\": false,"
                              "\"torch_dtype\": \"bfloat16\","
                              "\"transformers_version\": \"4.36.0.dev0\","
                              "\"use_cache\": true,"
                              "\"vocab_size\": 32000"
                              "}";

static const char llama[] = "{"
                            "\"architectures\": [\"LlamaForCausalLM\"],"
                            "\"hidden_size\": 64,"
                            "\"intermediate_size\": 172,"
                            "\"max_position_embeddings\": 512,"
                            "\"num_attention_heads\": 8,"
                            "\"num_hidden_layers\": 5,"
                            "\"num_key_value_heads\": 4,"
                            "\"rms_norm_eps\": 1e-06,"
                            "\"vocab_size\": 512"
                            "}";

static adamoe_status parse_text(const char *text, adamoe_config *config, bool *given)
{
    const size_t length = strlen(text);
    char *exact = malloc(length + (length == 0)); /* without a zero at the end */
    assert_non_null(exact);
    memcpy(exact, text, length);
    const adamoe_status status = adamoe_config_parse("config.json", exact, length, config, given);
    free(exact);
    return status;
}

/* `base` with the member `key` removed, if it is there, and `member` put in front, unless it is empty. */
static char *edit(const char *base, const char *key, const char *member)
{
    char pattern[80];
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    const char *found = strstr(base, pattern);
    const char *rest = found == NULL ? NULL : strchr(found, ',');
    char *edited = NULL;
    int length;
    if (found == NULL) {
        length = asprintf(&edited, "{%s%s%s", member, member[0] == '\0' ? "" : ",", base + 1);
    } else if (rest == NULL) { /* the last member: its comma stands before it */
        length = asprintf(&edited, "{%s%s%.*s}", member, member[0] == '\0' ? "" : ",",
                          (int)(found - base) - 2, base + 1);
    } else {
        length = asprintf(&edited, "{%s%s%.*s%s", member, member[0] == '\0' ? "" : ",",
                          (int)(found - base) - 1, base + 1, rest + 1);
    }
    assert_true(length > 0);
    return edited;
}

static adamoe_status parse_edited(const char *base, const char *key, const char *member,
                                  adamoe_config *config, bool *given)
{
    char *text = edit(base, key, member);
    const adamoe_status status = parse_text(text, config, given);
    free(text);
    return status;
}

static void reads_mixtral(void **state)
{
    (void)state;
    adamoe_config config;
    bool given = true;
    assert_ok(parse_text(mixtral, &config, &given));
    assert_false(given);
    assert_int_equal(config.vocab_size, 32000);
    assert_int_equal(config.hidden_size, 4096);
    assert_int_equal(config.intermediate_size, 14336);
    assert_int_equal(config.layers, 32);
    assert_int_equal(config.heads, 32);
    assert_int_equal(config.key_value_heads, 8);
    assert_int_equal(config.head_dim, 128);
    assert_int_equal(config.experts, 8);
    assert_int_equal(config.null_experts, 0);
    assert_false(config.architecture.dense);
    assert_int_equal(config.rule.top_k, 2);
    assert_int_equal(config.rule.norm, ADAMOE_NORM_TRUE);
    assert_int_equal(config.rule.null_kind, ADAMOE_NULL_ZERO);
    assert_true(config.rms_norm_eps == 1e-5);
    assert_true(config.rope_theta == 1e6);
    assert_int_equal(config.sliding_window, 0);
    assert_int_equal(config.context, 32768);
    assert_false(config.architecture.tied_head);
    assert_true(config.has_bos && config.bos == 1);
    assert_true(config.eos_count >= 1 && config.eos[0] == 2);
}

static void reads_llama(void **state)
{
    (void)state;
    adamoe_config config;
    bool given = true;
    assert_ok(parse_text(llama, &config, &given));
    assert_false(given);
    assert_true(config.architecture.dense);
    assert_int_equal(config.experts, 1);
    assert_int_equal(config.null_experts, 0);
    assert_int_equal(config.rule.top_k, 1);
    assert_int_equal(config.head_dim, 8);
    assert_true(config.rms_norm_eps == 1e-6);
    assert_true(config.rope_theta == 1e4); /* what its absence means */
    assert_false(config.has_bos || config.eos_count > 0 || config.architecture.tied_head);
    assert_ok(parse_edited(llama, "num_key_value_heads", "\"num_key_value_heads\":null", &config, &given));
    assert_int_equal(config.key_value_heads, 8);
    assert_ok(parse_edited(llama, "architectures", "\"model_type\":\"llama\"", &config, &given));
    assert_true(config.architecture.dense);
}

static void reads_the_file_of_a_real_model(void **state)
{
    (void)state;
    static const char path[] = SHARED_PATH("stories260K/config.json");
    SKIP_WITHOUT(path);
    adamoe_config config;
    bool given;
    assert_ok(adamoe_config_read(path, &config, &given));
    assert_true(config.architecture.dense && config.architecture.tied_head);
    assert_int_equal(config.layers, 5);
    assert_int_equal(config.context, 512);
    assert_error(adamoe_config_read(SHARED_PATH("absent"), &config, &given), ADAMOE_BAD_INPUT,
                 "absent: open: No such file or directory");
}

/* A member that is put into a config, and the field that it sets. */
static void reads_the_keys_of_this_project(void **state)
{
    (void)state;
    adamoe_config config;
    bool given = false;
    assert_ok(parse_edited(mixtral, "", "\"num_null_experts\":16,\"norm\":\"all\",\"null_kind\":\"identity\"",
                           &config, &given));
    assert_true(given);
    assert_int_equal(config.null_experts, 16);
    assert_int_equal(config.rule.norm, ADAMOE_NORM_ALL);
    assert_int_equal(config.rule.null_kind, ADAMOE_NULL_IDENTITY);
    assert_ok(parse_edited(mixtral, "", "\"norm\":\"none\",\"num_null_experts\":0", &config, &given));
    assert_true(given);
    assert_int_equal(config.rule.norm, ADAMOE_NORM_NONE);
    assert_int_equal(config.null_experts, 0);
    /* k above n is possible where the number of null experts is not known yet, or large enough */
    assert_ok(parse_edited(mixtral, "num_experts_per_tok", "\"num_experts_per_tok\":9", &config, &given));
    assert_ok(parse_edited(mixtral, "num_experts_per_tok", "\"num_experts_per_tok\":9,\"num_null_experts\":1",
                           &config, &given));
}

static void reads_rope_theta_old_and_new(void **state)
{
    (void)state;
    adamoe_config config;
    bool given;
    assert_ok(parse_edited(mixtral, "rope_theta", "", &config, &given));
    assert_true(config.rope_theta == 1e6);
    assert_ok(parse_edited(mixtral, "rope_theta", "\"rope_theta\":5000", &config, &given));
    assert_true(config.rope_theta == 5000.0);
    assert_ok(parse_edited(mixtral, "rope_theta",
                           "\"rope_parameters\":{\"rope_theta\":2e4,\"rope_type\":\"default\"}", &config,
                           &given));
    assert_true(config.rope_theta == 2e4);
    assert_ok(parse_edited(mixtral, "",
                           "\"rope_parameters\":{\"rope_theta\":1000000,\"partial_rotary_factor\":1.0}",
                           &config, &given));
    assert_true(config.rope_theta == 1e6);
}

static void reads_rope_scaling(void **state)
{
    (void)state;
    adamoe_config config;
    bool given;
    assert_ok(parse_text(llama, &config, &given));
    assert_int_equal(config.rope_scaling.type, ADAMOE_ROPE_DEFAULT);
    assert_ok(
        parse_edited(llama, "", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}", &config, &given));
    assert_int_equal(config.rope_scaling.type, ADAMOE_ROPE_LINEAR);
    assert_true(config.rope_scaling.factor == 4.0);
    static const char llama3[] = "{\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                                 "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}";
    char member[600];
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    for (size_t i = 0; i < 2; ++i) {
        (void)snprintf(member, sizeof member, "\"rope_theta\":500000.0,\"%s\":%s", keys[i], llama3);
        assert_ok(parse_edited(llama, "", member, &config, &given));
        assert_int_equal(config.rope_scaling.type, ADAMOE_ROPE_LLAMA3);
        assert_true(config.rope_theta == 500000.0 && config.rope_scaling.factor == 8.0);
        assert_true(config.rope_scaling.low_frequency_factor == 1.0);
        assert_true(config.rope_scaling.high_frequency_factor == 4.0);
        assert_true(config.rope_scaling.original_context == 8192.0);
    }
    (void)snprintf(member, sizeof member, "\"rope_scaling\":%s,\"rope_parameters\":%s", llama3, llama3);
    assert_ok(parse_edited(llama, "", member, &config, &given)); /* twice the same */
}

static void reads_layer_types(void **state)
{
    (void)state;
    adamoe_config config;
    bool given;
    assert_ok(parse_edited(llama, "",
                           "\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\","
                           "\"full_attention\",\"full_attention\"]",
                           &config, &given));
    assert_ok(parse_edited(mixtral, "num_hidden_layers",
                           "\"num_hidden_layers\":1,\"layer_types\":[\"full_attention\"]", &config, &given));
}

static void reads_other_optional_keys(void **state)
{
    (void)state;
    adamoe_config config;
    bool given;
    assert_ok(parse_edited(mixtral, "sliding_window", "\"sliding_window\":4096", &config, &given));
    assert_int_equal(config.sliding_window, 4096);
    assert_ok(parse_edited(mixtral, "", "\"head_dim\":64", &config, &given));
    assert_int_equal(config.head_dim, 64);
    assert_ok(parse_edited(mixtral, "", "\"head_dim\":null", &config, &given));
    assert_int_equal(config.head_dim, 128);
    assert_ok(parse_edited(mixtral, "eos_token_id", "\"eos_token_id\":[7,2]", &config, &given));
    assert_true(config.eos_count >= 1 && config.eos[0] == 7);
    assert_ok(parse_edited(mixtral, "eos_token_id", "\"eos_token_id\":[]", &config, &given));
    assert_int_equal(config.eos_count, 0);
    assert_ok(parse_edited(mixtral, "bos_token_id", "\"bos_token_id\":null", &config, &given));
    assert_false(config.has_bos);
    assert_ok(parse_edited(llama, "", "\"tie_word_embeddings\":true", &config, &given));
    assert_true(config.architecture.tied_head);
}

static void accepts_what_changes_nothing(void **state)
{
    (void)state;
    static const char *const members[] = {
        "\"rope_scaling\":null",
        "\"attention_bias\":false,\"mlp_bias\":false",
        "\"partial_rotary_factor\":1",
        "\"pad_token_id\":-1",
        "\"router_jitter_noise\":0.1,\"dtype\":\"float32\"",
        "\"_name_or_path\":\"somewhere\"",
        "\"pretraining_tp\":1,\"is_llama_config\":true,\"rope_interleaved\":false",
        "\"what_nobody_has_heard_of\":null",
        "\"unsloth_version\":\"2025.1.5\",\"unsloth_fixed\":true",
        "\"id2label\":{\"0\":\"LABEL_0\"},\"label2id\":{\"LABEL_0\":0}",
        "\"auto_map\":{\"AutoModelForCausalLM\":\"modeling_x.X\"},\"name_or_path\":\"a/b\"",
        "\"attn_implementation\":\"sdpa\",\"hidden_dropout\":0.1,\"attn_pdrop\":0.1,\"embd_pdrop\":0.0",
        "\"is_encoder_decoder\":false,\"add_cross_attention\":false,\"pruned_heads\":{},\"is_decoder\":true",
        "\"temperature\":0.7,\"top_p\":0.9,\"do_sample\":true,\"max_length\":20,\"bad_words_ids\":null",
        "\"aux_loss_alpha\":0.001,\"router_z_loss_coef\":0.001,\"seq_aux\":true",
        "\"rope_scaling\":{\"type\":\"default\"}",
        "\"rope_scaling\":{\"rope_type\":\"default\",\"type\":\"default\",\"partial_rotary_factor\":1.0}",
        "\"clip_qkv\":null,\"use_mrope\":false",
    };
    adamoe_config config;
    bool given;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; ++i) {
        assert_ok(parse_edited(mixtral, "", members[i], &config, &given));
    }
}

/* ----------------------------------------------------------------------------------------------- refusals */

static const struct refusal {
    const char *base, *key, *member, *message;
} refusals[] = {
    /* what is not implemented */
    {mixtral, "architectures", "\"architectures\":[\"DbrxForCausalLM\"]",
     "config.json: architectures: DbrxForCausalLM is not implemented"},
    {mixtral, "architectures", "\"architectures\":[]", "architectures: is no list of one name"},
    {mixtral, "architectures", "\"architectures\":\"MixtralForCausalLM\"", "is no list of one name"},
    {mixtral, "architectures", "\"architectures\":[\"LlamaForCausalLM\"]",
     "model_type: is not that of LlamaForCausalLM"},
    {mixtral, "model_type", "\"model_type\":\"deepseek_v3\"", "model_type: deepseek_v3 is not implemented"},
    {llama, "architectures", "", "config.json: architectures: missing"},
    {mixtral, "hidden_act", "\"hidden_act\":\"gelu\"", "config.json: hidden_act: gelu is not implemented"},
    {mixtral, "", "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}",
     "rope_scaling: type: dynamic is not implemented"},
    {mixtral, "", "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1.0]}",
     "rope_scaling: rope_type: longrope is not implemented"},
    {mixtral, "", "\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[2]}",
     "rope_scaling: type: mrope is not"},
    {mixtral, "", "\"rope_parameters\":{\"rope_type\":\"yarn\"}",
     "rope_parameters: rope_type: yarn is not implemented"},
    {mixtral, "", "\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"default\",\"factor\":2}",
     "rope_scaling: type: is not rope_type"},
    {mixtral, "", "\"rope_scaling\":{\"type\":3}", "rope_scaling: type: is no string"},
    {mixtral, "", "\"rope_scaling\":2.0", "rope_scaling: is no object"},
    {mixtral, "", "\"rope_scaling\":{\"type\":\"linear\"}", "rope_scaling: factor: missing"},
    {mixtral, "", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}",
     "rope_scaling: factor: is no positive"},
    {mixtral, "", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":[4.0]}",
     "rope_scaling: factor: is a list"},
    {mixtral, "", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"low_freq_factor\":1}",
     "rope_scaling: low_freq_factor: not implemented"},
    {mixtral, "",
     "\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
     "\"high_freq_factor\":4}",
     "rope_scaling: original_max_position_embeddings: missing"},
    {mixtral, "",
     "\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
     "\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}",
     "rope_scaling: high_freq_factor: is not above low_freq_factor"},
    {mixtral, "",
     "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
     "\"rope_parameters\":{\"rope_theta\":1e6}",
     "rope_scaling: is not that of rope_parameters"},
    {mixtral, "", "\"rope_scaling\":{\"rope_theta\":1e6}", "rope_scaling: rope_theta: not implemented"},
    {mixtral, "", "\"rope_parameters\":{\"factor\":8.0}", "rope_parameters: factor: not implemented"},
    {mixtral, "", "\"rope_parameters\":{\"partial_rotary_factor\":0.5}", "partial_rotary_factor: not impl"},
    {mixtral, "", "\"rope_parameters\":{\"rope_theta\":1e4}", "rope_theta: is not that of rope_parameters"},
    {mixtral, "", "\"rope_parameters\":[]", "rope_parameters: is no object"},
    {mixtral, "", "\"partial_rotary_factor\":0.5", "partial_rotary_factor: not implemented"},
    {mixtral, "", "\"attention_bias\":true", "config.json: attention_bias: not implemented"},
    {llama, "", "\"mlp_bias\":true", "mlp_bias: not implemented"},
    {llama, "", "\"rope_interleaved\":true", "rope_interleaved: not implemented"},
    {mixtral, "", "\"quantization_config\":{\"bits\":4}", "quantization_config: not implemented"},
    {mixtral, "", "\"attn_logit_softcapping\":50.0",
     "config.json: attn_logit_softcapping: unknown key, which might change what is computed"},
    {mixtral, "", "\"embedding_multiplier\":12.0", "embedding_multiplier: unknown key, which might change"},
    {mixtral, "", "\"num_experts\":4", "num_experts: 4, but num_local_experts is 8"},
    {mixtral, "", "\"is_encoder_decoder\":true", "is_encoder_decoder: not implemented"},
    {mixtral, "", "\"add_cross_attention\":true", "add_cross_attention: not implemented"},
    {mixtral, "", "\"pruned_heads\":{\"0\":[1]}", "pruned_heads: not implemented"},
    {mixtral, "", "\"clip_qkv\":8.0", "clip_qkv: not implemented"},
    {llama, "", "\"layer_types\":[\"full_attention\"]",
     "layer_types: is no list of 5 names, one for each layer"},
    {llama, "", "\"layer_types\":\"full_attention\"", "layer_types: is no list of 5 names"},
    {llama, "",
     "\"layer_types\":[\"full_attention\",\"full_attention\",\"sliding_attention\",\"full_attention\","
     "\"full_attention\"]",
     "layer_types: layer 2: sliding_attention, but sliding_window makes it full_attention"},
    {llama, "", "\"layer_types\":[1,2,3,4,5]", "layer_types: layer 0: no name, but sliding_window makes it"},
    {llama, "intermediate_size", "\"intermediate_size\":[172,172,172,172,172]",
     "intermediate_size: is a list, and one number is expected: layers that differ are not implemented"},
    {llama, "num_key_value_heads", "\"num_key_value_heads\":[4,4,4,4,2]",
     "num_key_value_heads: is a list, and"},
    {llama, "rms_norm_eps", "\"rms_norm_eps\":[1e-6]", "rms_norm_eps: is a list, and one number is expected"},
    {llama, "rms_norm_eps", "\"rms_norm_eps\":1e39", "rms_norm_eps: 1e+39 has no float32"},
    {llama, "", "\"rope_theta\":1e300", "rope_theta: 1e+300 has no float32"},
    {mixtral, "model_type", "\"model_type\":[\"mixtral\"]", "model_type: is no string"},
    {llama, "", "\"sliding_window\":16", "sliding_window: LlamaForCausalLM has none"},
    {llama, "", "\"num_local_experts\":8", "num_local_experts: LlamaForCausalLM has no router"},
    {llama, "", "\"num_null_experts\":0", "num_null_experts: LlamaForCausalLM has no router"},
    {llama, "", "\"norm\":\"true\"", "norm: LlamaForCausalLM has no router"},
    {mixtral, "", "\"norm\":\"some\"", "norm: some is not implemented"},
    {mixtral, "", "\"norm\":true", "norm: is no string"},
    {mixtral, "", "\"null_kind\":\"copy\"", "null_kind: copy is not implemented"},
    /* sizes */
    {mixtral, "vocab_size", "", "config.json: vocab_size: missing"},
    {mixtral, "hidden_size", "", "hidden_size: missing"},
    {mixtral, "hidden_size", "\"hidden_size\":0", "hidden_size: is no positive integer"},
    {mixtral, "hidden_size", "\"hidden_size\":-64", "hidden_size: is no positive integer"},
    {mixtral, "hidden_size", "\"hidden_size\":4096.0", "hidden_size: is no positive integer"},
    {mixtral, "hidden_size", "\"hidden_size\":\"4096\"", "hidden_size: is no positive integer"},
    {mixtral, "hidden_size", "\"hidden_size\":99999999999999999999", "too big integer"},
    {mixtral, "intermediate_size", "\"intermediate_size\":0", "intermediate_size: is no positive"},
    {mixtral, "num_hidden_layers", "\"num_hidden_layers\":0", "num_hidden_layers: is no positive"},
    {mixtral, "max_position_embeddings", "", "max_position_embeddings: missing"},
    {mixtral, "sliding_window", "\"sliding_window\":0", "sliding_window: is no positive integer"},
    {mixtral, "num_key_value_heads", "", "num_key_value_heads: missing"},
    {mixtral, "num_key_value_heads", "\"num_key_value_heads\":5", "5 does not divide the 32 heads"},
    {mixtral, "num_attention_heads", "\"num_attention_heads\":48",
     "num_attention_heads: 48 do not divide hidden_size 4096"},
    {mixtral, "", "\"head_dim\":7", "head_dim: 7 is odd"},
    {mixtral, "", "\"head_dim\":0", "head_dim: is no positive integer"},
    {mixtral, "num_local_experts", "", "num_local_experts: missing"},
    {mixtral, "num_local_experts", "\"num_local_experts\":0", "num_local_experts: is no positive"},
    {mixtral, "num_experts_per_tok", "", "num_experts_per_tok: missing"},
    {mixtral, "num_experts_per_tok", "\"num_experts_per_tok\":0", "num_experts_per_tok: is no positive"},
    {mixtral, "num_experts_per_tok", "\"num_experts_per_tok\":13,\"num_null_experts\":4",
     "num_experts_per_tok: 13 is above the 12 experts, true and null"},
    {mixtral, "", "\"num_null_experts\":-1", "num_null_experts: is no count"},
    {mixtral, "", "\"num_null_experts\":1.5", "num_null_experts: is no count"},
    /* products */
    {mixtral, "", "\"num_null_experts\":4294967295", "num_local_experts: with num_null_experts is beyond"},
    {mixtral, "num_local_experts", "\"num_local_experts\":9223372036854775807", "is beyond 32-bit ids"},
    {mixtral, "vocab_size", "\"vocab_size\":4294967296", "vocab_size: is beyond 32-bit ids"},
    {mixtral, "hidden_size", "\"hidden_size\":4611686018427387904",
     "vocab_size: times hidden_size overflows"},
    {mixtral, "hidden_size",
     "\"hidden_size\":17592186044416", /* times 32000 fits a size_t, but not in bytes */
     "vocab_size: times hidden_size overflows"},
    {mixtral, "intermediate_size", "\"intermediate_size\":4611686018427387904",
     "intermediate_size: times hidden_size times experts overflows"},
    {mixtral, "", "\"head_dim\":4611686018427387904", "times head_dim times hidden_size overflows"},
    {mixtral, "num_hidden_layers", "\"num_hidden_layers\":9223372036854775807",
     "num_hidden_layers: times the size of a layer overflows"},
    /* numbers, tokens, booleans */
    {mixtral, "rms_norm_eps", "", "rms_norm_eps: missing"},
    {mixtral, "rms_norm_eps", "\"rms_norm_eps\":0", "rms_norm_eps: is no positive number"},
    {mixtral, "rms_norm_eps", "\"rms_norm_eps\":\"1e-5\"", "rms_norm_eps: is no positive number"},
    {mixtral, "rope_theta", "\"rope_theta\":-1.0", "rope_theta: is no positive number"},
    {mixtral, "rope_theta", "\"rope_theta\":1e999", "real number overflow"},
    {mixtral, "rope_theta", "\"rope_parameters\":{\"rope_theta\":0}",
     "rope_parameters: rope_theta: is no positive number"},
    {mixtral, "bos_token_id", "\"bos_token_id\":32000",
     "bos_token_id: 32000 is outside the vocabulary of 32000"},
    {mixtral, "bos_token_id", "\"bos_token_id\":-1", "bos_token_id: is no token id"},
    {mixtral, "eos_token_id", "\"eos_token_id\":[99999]", "eos_token_id: 99999 is outside"},
    {mixtral, "eos_token_id", "\"eos_token_id\":\"</s>\"", "eos_token_id: is no token id"},
    {mixtral, "tie_word_embeddings", "\"tie_word_embeddings\":0", "tie_word_embeddings: is no boolean"},
};

static void refuses_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; ++i) {
        const struct refusal *refusal = &refusals[i];
        adamoe_config config;
        bool given;
        const adamoe_status status =
            parse_edited(refusal->base, refusal->key, refusal->member, &config, &given);
        if (status.code != ADAMOE_BAD_INPUT || strstr(status.message, refusal->message) == NULL ||
            strncmp(status.message, "config.json: ", 13) != 0) {
            fail_msg("%s: code %d, \"%s\"; expected \"%s\"", refusal->member, (int)status.code,
                     status.message, refusal->message);
        }
    }
}

static void refuses_what_is_no_object(void **state)
{
    (void)state;
    adamoe_config config = {.layers = 7};
    bool given;
    assert_error(parse_text("", &config, &given), ADAMOE_BAD_INPUT, "config.json: line 1 column 0: ");
    assert_error(parse_text("[]", &config, &given), ADAMOE_BAD_INPUT, "config.json: line 1: is no object");
    assert_error(parse_text("{}", &config, &given), ADAMOE_BAD_INPUT, "config.json: architectures: missing");
    assert_error(parse_text("{\"a\":1,\n \"a\":2}", &config, &given), ADAMOE_BAD_INPUT,
                 "config.json: line 2 column 4: duplicate object key");
    assert_int_equal(config.layers, 7); /* nothing is written on an error */
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t length = 0; length + 1 < sizeof mixtral; ++length) {
        adamoe_config config;
        bool given;
        char *part = strndup(mixtral, length);
        assert_non_null(part);
        assert_error(parse_text(part, &config, &given), ADAMOE_BAD_INPUT, "config.json: line 1 column ");
        free(part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_mixtral),
        cmocka_unit_test(reads_llama),
        cmocka_unit_test(reads_the_file_of_a_real_model),
        cmocka_unit_test(reads_the_keys_of_this_project),
        cmocka_unit_test(reads_rope_theta_old_and_new),
        cmocka_unit_test(reads_rope_scaling),
        cmocka_unit_test(reads_layer_types),
        cmocka_unit_test(reads_other_optional_keys),
        cmocka_unit_test(accepts_what_changes_nothing),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(refuses_what_is_no_object),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

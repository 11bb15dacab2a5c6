/*
 * config.json of each family as people have it, and what is refused of it. Sizes are those of published models.
 */
#include "config/config.h"
#include "temporary_folder.h"

/* What all of them have, without sizes. */
#define COMMON                                                                                               \
    "\"attention_dropout\":0.0,\"hidden_act\":\"silu\",\"initializer_range\":0.02,\"use_cache\":true,"       \
    "\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.46.0\",\"unsloth_version\":\"2025.3.1\","     \
    "\"pad_token_id\":0,\"tie_word_embeddings\":false,"

#define SIZES(vocab, hidden, ff, layers, heads, kv, context)                                                 \
    "\"vocab_size\":" #vocab ",\"hidden_size\":" #hidden ",\"intermediate_size\":" #ff                       \
    ",\"num_hidden_layers\":" #layers ",\"num_attention_heads\":" #heads ",\"num_key_value_heads\":" #kv     \
    ",\"max_position_embeddings\":" #context ","

static const char mistral[] = "{" COMMON SIZES(
    32000, 4096, 14336, 32, 32, 8,
    32768) "\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\",\"sliding_window\":4096,"
           "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0}";

static const char llama3[] = "{" COMMON SIZES(
    128256, 4096, 14336, 32, 32, 8,
    131072) "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"attention_bias\":false,"
            "\"mlp_bias\":false,\"eos_token_id\":[128001,128008,128009],\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,"
            "\"rope_scaling\":{\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
            "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rope_theta\":500000.0}";

static const char qwen2[] = "{" COMMON SIZES(
    152064, 3584, 18944, 28, 28, 4,
    131072) "\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\",\"sliding_window\":131072,"
            "\"max_window_layers\":28,\"use_mrope\":false,\"use_sliding_window\":false,\"rms_norm_eps\":1e-06,"
            "\"rope_theta\":1000000.0}";

static const char qwen3[] = "{" COMMON SIZES(
    151936, 4096, 12288, 36, 32, 8,
    40960) "\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"attention_bias\":false,"
           "\"head_dim\":128,\"max_window_layers\":36,\"rope_scaling\":null,\"sliding_window\":null,"
           "\"use_sliding_window\":false,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000}";

static const char olmoe[] = "{" COMMON SIZES(
    50304, 2048, 1024, 16, 16, 16,
    4096) "\"architectures\":[\"OlmoeForCausalLM\"],\"model_type\":\"olmoe\",\"attention_bias\":false,"
          "\"clip_qkv\":null,\"norm_topk_prob\":false,\"num_experts\":64,\"num_experts_per_tok\":8,"
          "\"output_router_logits\":false,\"rope_scaling\":null,\"router_aux_loss_coef\":0.01,"
          "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0}";

static const char qwen3_moe[] = "{" COMMON SIZES(
    151936, 2048, 6144, 48, 32, 4,
    40960) "\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\",\"attention_bias\":false,"
           "\"decoder_sparse_step\":1,\"head_dim\":128,\"max_window_layers\":48,\"mlp_only_layers\":[],"
           "\"moe_intermediate_size\":768,\"norm_topk_prob\":true,\"num_experts\":128,\"num_experts_per_tok\":8,"
           "\"output_router_logits\":false,\"rope_scaling\":null,\"router_aux_loss_coef\":0.001,"
           "\"sliding_window\":null,\"use_sliding_window\":false,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0}";

static const char qwen2_moe[] = "{" COMMON SIZES(
    151936, 2048, 5632, 24, 16, 16,
    8192) "\"architectures\":[\"Qwen2MoeForCausalLM\"],\"model_type\":\"qwen2_moe\",\"decoder_sparse_step\":1,"
          "\"max_window_layers\":21,\"moe_intermediate_size\":1408,\"norm_topk_prob\":false,\"num_experts\":60,"
          "\"num_experts_per_tok\":4,\"output_router_logits\":false,\"router_aux_loss_coef\":0.001,"
          "\"shared_expert_intermediate_size\":5632,\"sliding_window\":32768,\"use_sliding_window\":false,"
          "\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0}";

static const char granite[] = "{" COMMON SIZES(
    49155, 1024, 512, 24, 16, 8,
    4096) "\"architectures\":[\"GraniteMoeForCausalLM\"],\"model_type\":\"granitemoe\",\"attention_bias\":false,"
          "\"attention_multiplier\":0.015625,\"embedding_multiplier\":12.0,\"logits_scaling\":6.0,"
          "\"residual_multiplier\":0.22,\"num_local_experts\":32,\"num_experts_per_tok\":8,"
          "\"output_router_logits\":false,\"router_aux_loss_coef\":0.001,\"rope_scaling\":null,"
          "\"rms_norm_eps\":1e-06,\"rope_theta\":10000}";

static adamoe_status parse(const char *text, adamoe_config *config)
{
    bool given;
    return adamoe_config_parse("config.json", text, strlen(text), config, &given);
}

/* `text` with the member `key`, which it has, replaced by `member`, or with `member` in front where key is empty. */
static adamoe_status parse_edited(const char *text, const char *key, const char *member,
                                  adamoe_config *config)
{
    char edited[4096], quoted[80];
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = key[0] == '\0' ? text + 1 : strstr(text, quoted), *end = at;
    assert_non_null(at);
    if (key[0] != '\0') {
        int depth = 0;
        while (depth > 0 || (*end != ',' && *end != '}')) {
            depth += (*end == '[' || *end == '{') - (*end == ']' || *end == '}');
            ++end;
        }
        end += *end == ',';
    }
    const bool more = *end != '}' && member[0] != '\0';
    (void)snprintf(edited, sizeof edited, "%.*s%s%s%s", (int)(at - text), text, member, more ? "," : "", end);
    return parse(edited, config);
}

static void dense_families(void **state)
{
    (void)state;
    adamoe_config c;
    assert_ok(parse(mistral, &c));
    assert_true(c.architecture.dense && !c.architecture.biases && c.sliding_window == 4096);
    assert_ok(parse_edited(mistral, "sliding_window", "\"sliding_window\":null", &c));
    assert_int_equal(c.sliding_window, 0);
    assert_ok(parse_edited(mistral, "sliding_window", "", &c)); /* what the library takes */
    assert_int_equal(c.sliding_window, 4096);
    assert_ok(parse(llama3, &c));
    assert_int_equal(c.rope_scaling.type, ADAMOE_ROPE_LLAMA3);
    assert_int_equal(c.eos_count, 3);
    assert_ok(parse(qwen2, &c));
    assert_true(c.architecture.dense && c.architecture.biases && c.sliding_window == 0 && c.head_dim == 128);
    assert_ok(parse(qwen3, &c));
    assert_int_equal(c.architecture.query_key_norm, ADAMOE_QUERY_KEY_NORM_HEADS);
    assert_true(!c.architecture.biases && c.head_dim == 128 && c.rope_theta == 1e6);
    assert_ok(parse_edited(qwen3, "head_dim", "", &c));
    assert_int_equal(c.head_dim, 128);
}

static void families_with_experts(void **state)
{
    (void)state;
    adamoe_config c;
    assert_ok(parse(olmoe, &c));
    assert_int_equal(c.architecture.query_key_norm, ADAMOE_QUERY_KEY_NORM_WIDTH);
    assert_true(c.experts == 64 && c.intermediate_size == 1024 && c.rule.top_k == 8 && c.head_dim == 128);
    assert_int_equal(c.rule.norm, ADAMOE_NORM_EVERY);
    assert_ok(parse_edited(olmoe, "norm_topk_prob", "\"norm_topk_prob\":true", &c));
    assert_int_equal(c.rule.norm, ADAMOE_NORM_TRUE);
    assert_ok(parse_edited(olmoe, "norm_topk_prob", "\"norm\":\"true\"", &c)); /* ours decides */
    assert_int_equal(c.rule.norm, ADAMOE_NORM_TRUE);
    assert_ok(parse_edited(olmoe, "norm_topk_prob", "", &c)); /* what its absence means */
    assert_int_equal(c.rule.norm, ADAMOE_NORM_EVERY);
    assert_ok(parse_edited(olmoe, "clip_qkv", "\"clip_qkv\":8.0", &c));
    assert_true(c.architecture.clipped && c.clip == 8.0 && !c.architecture.biases);
    assert_ok(parse_edited(olmoe, "attention_bias", "\"attention_bias\":true", &c));
    assert_true(c.architecture.biases && c.architecture.output_bias && !c.architecture.clipped);
    assert_ok(parse(qwen3_moe, &c));
    assert_int_equal(c.architecture.query_key_norm, ADAMOE_QUERY_KEY_NORM_HEADS);
    assert_true(c.experts == 128 && c.intermediate_size == 768 && c.head_dim == 128);
    assert_int_equal(c.rule.norm, ADAMOE_NORM_TRUE);
    assert_ok(parse_edited(qwen3_moe, "num_experts", "\"num_local_experts\":128", &c)); /* newer files */
    assert_int_equal(c.experts, 128);
    assert_ok(parse_edited(qwen3_moe, "mlp_only_layers", "\"mlp_only_layers\":null", &c));
    assert_ok(parse(qwen2_moe, &c));
    assert_true(c.architecture.biases && c.architecture.shared_expert && c.sliding_window == 0);
    assert_true(c.experts == 60 && c.intermediate_size == 1408 && c.shared_intermediate_size == 5632);
    assert_int_equal(c.rule.norm, ADAMOE_NORM_EVERY);
    assert_ok(parse_edited(qwen2_moe, "", "\"qkv_bias\":false", &c));
    assert_false(c.architecture.biases);
    assert_ok(parse(granite, &c));
    assert_true(c.architecture.multipliers && c.experts == 32 && c.intermediate_size == 512);
    assert_int_equal(c.rule.norm, ADAMOE_NORM_TRUE);
    assert_true(c.multiplier.embedding == 12.0 && c.multiplier.attention == 0.015625);
    assert_true(c.multiplier.residual == 0.22 && c.multiplier.logits == 6.0);
    assert_ok(parse_edited(granite, "residual_multiplier", "", &c));
    assert_true(c.multiplier.residual == 1.0);
}

static const struct refusal {
    const char *text, *key, *member, *message;
} refusals[] = {
    {mistral, "num_key_value_heads", "", "num_key_value_heads: missing"},
    {mistral, "", "\"max_window_layers\":28", "max_window_layers: unknown key, which might change"},
    {mistral, "", "\"qkv_bias\":true", "qkv_bias: unknown key, which might change"},
    {mistral, "", "\"num_experts\":8", "num_experts: MistralForCausalLM has no router"},
    {mistral, "", "\"layer_types\":[\"full_attention\"]", "layer_types: is no list of 32 names"},
    {llama3, "rope_scaling", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0}",
     "yarn is not implemented"},
    {qwen2, "use_sliding_window", "\"use_sliding_window\":true", "use_sliding_window: not implemented"},
    {qwen2, "use_mrope", "\"use_mrope\":true", "use_mrope: not implemented"},
    {qwen3, "attention_bias", "\"attention_bias\":1", "attention_bias: is no boolean"},
    {mistral, "", "\"attention_bias\":true", "attention_bias: not implemented"},
    {qwen2_moe, "", "\"attention_bias\":true", "attention_bias: not implemented"},
    {qwen3, "", "\"norm_topk_prob\":true", "norm_topk_prob: unknown key, which might change"},
    {olmoe, "clip_qkv", "\"clip_qkv\":0.0", "clip_qkv: is no positive number"},
    {qwen3_moe, "", "\"clip_qkv\":8.0", "clip_qkv: not implemented"},
    {olmoe, "num_experts", "", "num_local_experts: missing"},
    {olmoe, "num_experts", "\"num_experts\":[64]", "num_experts: is a list, and one number is expected"},
    {olmoe, "norm_topk_prob", "\"norm_topk_prob\":0", "norm_topk_prob: is no boolean"},
    {olmoe, "", "\"moe_intermediate_size\":8", "moe_intermediate_size: unknown key, which might change"},
    {qwen3_moe, "moe_intermediate_size", "", "moe_intermediate_size: missing"},
    {qwen3_moe, "mlp_only_layers", "\"mlp_only_layers\":[3]", "mlp_only_layers: not implemented"},
    {qwen3_moe, "decoder_sparse_step", "\"decoder_sparse_step\":2", "decoder_sparse_step: not implemented"},
    {qwen3_moe, "num_experts_per_tok", "\"num_experts_per_tok\":129,\"num_null_experts\":0",
     "num_experts_per_tok: 129 is above the 128 experts"},
    {qwen3_moe, "", "\"shared_expert_intermediate_size\":8", "shared_expert_intermediate_size: unknown key"},
    {qwen2_moe, "shared_expert_intermediate_size", "", "shared_expert_intermediate_size: missing"},
    {qwen2_moe, "shared_expert_intermediate_size", "\"shared_expert_intermediate_size\":4611686018427387904",
     "shared_expert_intermediate_size: times hidden_size overflows"},
    {qwen2_moe, "", "\"qkv_bias\":1", "qkv_bias: is no boolean"},
    {granite, "embedding_multiplier", "\"embedding_multiplier\":0",
     "embedding_multiplier: is no positive number"},
    {granite, "logits_scaling", "\"logits_scaling\":[6.0]", "logits_scaling: is a list, and one number"},
    {granite, "attention_multiplier", "\"attention_multiplier\":1e40",
     "attention_multiplier: 1e+40 has no float32"},
    {granite, "", "\"norm_topk_prob\":true", "norm_topk_prob: unknown key, which might change"},
};

static void refuses_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; ++i) {
        const struct refusal *refusal = &refusals[i];
        adamoe_config config;
        const adamoe_status status = parse_edited(refusal->text, refusal->key, refusal->member, &config);
        if (status.code != ADAMOE_BAD_INPUT || strstr(status.message, refusal->message) == NULL ||
            strncmp(status.message, "config.json: ", 13) != 0) {
            fail_msg("%s: code %d, \"%s\"; expected \"%s\"", refusal->member, (int)status.code,
                     status.message, refusal->message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_families),
        cmocka_unit_test(families_with_experts),
        cmocka_unit_test(refuses_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

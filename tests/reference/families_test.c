/*
 * The families of models: logits of a tiny random one of each against Hugging Face transformers
 * (tests/golden/families/make.py), and that what a family has beside the others matters there.
 */
#include "test.h"
#include "attention.h"
#include "checkpoint.h"
#include "numbers.h"
#include "rotary.h"

#define FOLDER SOURCE_PATH("tests/golden/families")

#define LONGEST 64

static const char *const names[] = {"llama_linear", "llama_llama3", "mistral",    "qwen2",
                                    "qwen3",        "olmoe",        "qwen3_moe",  "qwen2_moe",
                                    "granite_moe",  "llama_bias",   "olmoe_clip", "granite_bias"};

/* A golden folder, opened. */
typedef struct subject {
    adamoe_checkpoint *checkpoint;
    adamoe_safetensors *expected;
    const adamoe_tensor *tokens, *logits; /* [sequences, length], [sequences, length, vocabulary] */
} subject;

static subject open_subject(const char *name)
{
    subject s = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    assert_ok(adamoe_checkpoint_open(path, &s.checkpoint));
    (void)snprintf(path, sizeof path, "%s/%s/expected.safetensors", FOLDER, name);
    assert_ok(adamoe_safetensors_open(path, &s.expected));
    s.tokens = adamoe_safetensors_find(s.expected, "tokens");
    s.logits = adamoe_safetensors_find(s.expected, "logits");
    assert_non_null(s.tokens);
    assert_non_null(s.logits);
    assert_true(s.tokens->shape[1] <= LONGEST);
    assert_int_equal(s.logits->elements,
                     s.tokens->elements * adamoe_checkpoint_model(s.checkpoint)->config.vocab_size);
    return s;
}

static void close_subject(subject *s)
{
    adamoe_safetensors_close(s->expected);
    adamoe_checkpoint_close(s->checkpoint);
}

/* The largest difference of a logit of `model`, which may be a changed one, from the expected ones. */
static double largest_difference(const subject *s, const adamoe_model *model)
{
    const size_t length = s->tokens->shape[1], vocab = model->config.vocab_size;
    double largest = 0.0;
    float *got = calloc(length * vocab, sizeof *got);
    assert_non_null(got);
    for (size_t sequence = 0; sequence < s->tokens->shape[0]; ++sequence) {
        uint32_t ids[LONGEST];
        adamoe_cache *cache = NULL;
        for (size_t i = 0; i < length; ++i) {
            int64_t id;
            memcpy(&id, (const char *)s->tokens->data + (sequence * length + i) * sizeof id, sizeof id);
            ids[i] = (uint32_t)id;
        }
        assert_ok(adamoe_cache_create(&model->config, length, &cache));
        assert_ok(adamoe_model_forward(model, cache, ids, length, NULL, NULL, got));
        for (size_t i = 0; i < length * vocab; ++i) {
            const double expected =
                (double)adamoe_element(s->logits->data, ADAMOE_F32, sequence * length * vocab + i);
            largest = fmax(largest, fabs((double)got[i] - expected));
        }
        adamoe_cache_free(cache);
    }
    free(got);
    return largest;
}

static void logits_equal_those_of_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        subject s = open_subject(names[i]);
        const double largest = largest_difference(&s, adamoe_checkpoint_model(s.checkpoint));
        print_message("%s: largest error %.2e\n", names[i], largest);
        assert_true(largest <= 1e-5);
        close_subject(&s);
    }
}

/* What is taken from a model, or given to it, must show in its logits: otherwise the comparison proved little. */
static void without_norm(adamoe_config *config)
{
    config->architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_NONE;
}

static void without_biases(adamoe_config *config)
{
    config->architecture.biases = false;
}

static void without_output_bias(adamoe_config *config)
{
    config->architecture.output_bias = false;
}

static void other_clip(adamoe_config *config)
{
    config->clip *= 1.1;
}

static void without_shared_expert(adamoe_config *config)
{
    config->architecture.shared_expert = false;
}

static void normalised(adamoe_config *config)
{
    config->rule.norm = ADAMOE_NORM_TRUE;
}

static void not_normalised(adamoe_config *config)
{
    config->rule.norm = ADAMOE_NORM_NONE;
}

static void other_attention_multiplier(adamoe_config *config)
{
    config->multiplier.attention *= 1.05;
}

static void other_embedding_multiplier(adamoe_config *config)
{
    config->multiplier.embedding *= 1.05;
}

static void other_residual_multiplier(adamoe_config *config)
{
    config->multiplier.residual *= 1.05;
}

static void other_logits_scaling(adamoe_config *config)
{
    config->multiplier.logits *= 1.05;
}

static void unscaled(adamoe_config *config)
{
    config->rope_scaling.type = ADAMOE_ROPE_DEFAULT;
}

static void other_low_frequency_factor(adamoe_config *config)
{
    config->rope_scaling.low_frequency_factor *= 1.2;
}

static void other_high_frequency_factor(adamoe_config *config)
{
    config->rope_scaling.high_frequency_factor *= 1.2;
}

static void other_window(adamoe_config *config)
{
    ++config->sliding_window;
}

static const struct change {
    const char *name;
    void (*make)(adamoe_config *config);
} changes[] = {
    {"llama_linear", unscaled},
    {"llama_llama3", unscaled},
    {"llama_llama3", other_low_frequency_factor},
    {"llama_llama3", other_high_frequency_factor},
    {"mistral", other_window},
    {"qwen2", without_biases},
    {"qwen3", without_norm},
    {"olmoe", without_norm},
    {"olmoe", normalised},
    {"qwen3_moe", without_norm},
    {"qwen3_moe", not_normalised},
    {"qwen2_moe", without_biases},
    {"qwen2_moe", without_shared_expert},
    {"qwen2_moe", normalised},
    {"llama_bias", without_biases},
    {"llama_bias", without_output_bias},
    {"olmoe_clip", other_clip},
    {"granite_bias", without_output_bias},
    {"granite_bias", other_residual_multiplier},
    {"granite_moe", not_normalised},
    {"granite_moe", other_attention_multiplier},
    {"granite_moe", other_embedding_multiplier},
    {"granite_moe", other_residual_multiplier},
    {"granite_moe", other_logits_scaling},
};

static void each_part_of_a_family_matters(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; ++i) {
        subject s = open_subject(changes[i].name);
        adamoe_model model = *adamoe_checkpoint_model(s.checkpoint);
        changes[i].make(&model.config);
        const double largest = largest_difference(&s, &model);
        if (!(largest > 1e-3)) {
            fail_msg("%s, change %zu: a difference of %.2e only", changes[i].name, i, largest);
        }
        close_subject(&s);
    }
}

/* Llama 3.1's: of 64 pairs of a head, with the factor 8 over 8192 positions. The wave of pair 28 is 1,957 positions
 * long, just below 8192 / 4, that of pair 29 is 2,402 long and lies between 2048 and 8192, that of pair 36 is 10,102. */
static void frequencies_of_llama3(void **state)
{
    (void)state;
    const adamoe_config config = {.head_dim = 128,
                                  .rope_theta = 500000.0,
                                  .rope_scaling = {.type = ADAMOE_ROPE_LLAMA3,
                                                   .factor = 8.0,
                                                   .low_frequency_factor = 1.0,
                                                   .high_frequency_factor = 4.0,
                                                   .original_context = 8192.0}};
    adamoe_config plain = config;
    plain.rope_scaling.type = ADAMOE_ROPE_DEFAULT;
    for (size_t i = 0; i < 64; ++i) {
        const double wave = 6.283185307179586 / adamoe_rotary_frequency(&plain, i);
        const double ratio = adamoe_rotary_frequency(&plain, i) / adamoe_rotary_frequency(&config, i);
        if (wave < 2048.0) {
            assert_true(ratio == 1.0);
        } else if (wave > 8192.0) {
            assert_true(fabs(ratio - 8.0) < 1e-14);
        } else {
            assert_true(ratio > 1.0 && ratio < 8.0);
        }
    }
    assert_true(6.283185307179586 / adamoe_rotary_frequency(&plain, 28) < 2048.0);
    assert_true(6.283185307179586 / adamoe_rotary_frequency(&plain, 29) > 2048.0);
    adamoe_config linear = plain;
    linear.rope_scaling = (adamoe_rope_scaling){.type = ADAMOE_ROPE_LINEAR, .factor = 4.0};
    assert_true(adamoe_rotary_frequency(&linear, 5) * 4.0 == adamoe_rotary_frequency(&plain, 5));
}

/* What LoRA experts and training do not know, and that training knows the rest. */
static void uses_are_refused_by_name(void **state)
{
    (void)state;
    static const struct refusal {
        adamoe_architecture architecture;
        const char *message;
    } refusals[] = {
        {{.dense = false}, "LoRA experts: the base is not a dense model"},
        {{.dense = true, .multipliers = true}, "LoRA experts: not implemented for a base with multipliers"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; ++i) {
        assert_error(adamoe_architecture_check(&refusals[i].architecture, ADAMOE_USE_LORA_EXPERTS),
                     ADAMOE_BAD_INPUT, refusals[i].message);
        assert_ok(adamoe_architecture_check(&refusals[i].architecture, ADAMOE_USE_TRAINING));
    }
    assert_ok(adamoe_architecture_check(&(adamoe_architecture){.dense = true}, ADAMOE_USE_LORA_EXPERTS));
    assert_ok(adamoe_architecture_check(&(adamoe_architecture){.dense = true,
                                                               .biases = true,
                                                               .output_bias = true,
                                                               .query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS},
                                        ADAMOE_USE_LORA_EXPERTS));
    const adamoe_architecture clip = {.dense = true, .biases = false, .output_bias = true, .clipped = true};
    assert_ok(adamoe_architecture_check(&clip, ADAMOE_USE_TRAINING));
    assert_error(adamoe_architecture_check(&clip, ADAMOE_USE_LORA_EXPERTS), ADAMOE_BAD_INPUT,
                 "LoRA experts: not implemented for a base with clip_qkv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_those_of_transformers),
        cmocka_unit_test(each_part_of_a_family_matters),
        cmocka_unit_test(frequencies_of_llama3),
        cmocka_unit_test(uses_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

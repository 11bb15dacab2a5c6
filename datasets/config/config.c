/*
 * config.json as a whole: family, sizes, router, special tokens. Which keys there may be is in keys.c, the rotary
 * embedding in rope.c, the table of families in families.c.
 */
#include "config/config.h"
#include "config/keys.h"
#include "config/rope.h"
#include "files/json_file.h"
#include "files/mapped_file.h"
#include "router.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------- family */

/* `architectures` lists one name; `model_type` says the same in lower case. Either will do. */
static adamoe_status read_type(const adamoe_config_reader *reader, const adamoe_family **out)
{
    const json_t *type = adamoe_config_get(reader, "model_type");
    *out = NULL;
    if (type != NULL && !json_is_string(type)) {
        return adamoe_config_error(reader, "model_type", "is no string");
    }
    *out = type == NULL ? NULL : adamoe_family_of_type(json_string_value(type));
    return type == NULL || *out != NULL
               ? adamoe_ok()
               : adamoe_config_error(reader, "model_type", "%.80s is not implemented",
                                     json_string_value(type));
}

static adamoe_status find_family(adamoe_config_reader *reader)
{
    const json_t *list = adamoe_config_get(reader, "architectures");
    const adamoe_family *of_type;
    ADAMOE_TRY(read_type(reader, &of_type));
    if (list == NULL) {
        reader->family = of_type;
        return of_type != NULL ? adamoe_ok() : adamoe_config_error(reader, "architectures", "missing");
    }
    const char *name = json_string_value(json_array_get(list, 0));
    if (json_array_size(list) != 1 || name == NULL) {
        return adamoe_config_error(reader, "architectures", "is no list of one name");
    }
    reader->family = adamoe_family_named(name);
    if (reader->family == NULL) {
        return adamoe_config_error(reader, "architectures", "%.80s is not implemented", name);
    }
    return of_type == NULL || reader->family == of_type
               ? adamoe_ok()
               : adamoe_config_error(reader, "model_type", "is not that of %s", name);
}

static adamoe_status read_family(adamoe_config_reader *reader)
{
    ADAMOE_TRY(find_family(reader));
    return reader->family->why_not == NULL
               ? adamoe_ok()
               : adamoe_config_error(reader, "architectures", "%s %s", reader->family->name,
                                     reader->family->why_not);
}

/* -------------------------------------------------------------------------------------------------- sizes */

static adamoe_status read_heads(const adamoe_config_reader *reader, adamoe_config *config)
{
    ADAMOE_TRY(adamoe_config_size(reader, "num_attention_heads", &config->heads));
    config->key_value_heads = config->heads;
    if (reader->family->key_value_heads) {
        ADAMOE_TRY(adamoe_config_size(reader, "num_key_value_heads", &config->key_value_heads));
    }
    ADAMOE_TRY(adamoe_config_optional_size(reader, "num_key_value_heads", &config->key_value_heads));
    if (config->heads % config->key_value_heads != 0) {
        return adamoe_config_error(reader, "num_key_value_heads", "%zu does not divide the %zu heads",
                                   config->key_value_heads, config->heads);
    }
    config->head_dim = reader->family->head_dim;
    ADAMOE_TRY(adamoe_config_optional_size(reader, "head_dim", &config->head_dim));
    if (config->head_dim == 0 && config->hidden_size % config->heads != 0) {
        return adamoe_config_error(reader, "num_attention_heads", "%zu do not divide hidden_size %zu",
                                   config->heads, config->hidden_size);
    }
    config->head_dim = config->head_dim == 0 ? config->hidden_size / config->heads : config->head_dim;
    if (config->head_dim % 2 != 0) {
        return adamoe_config_error(reader, "head_dim", "%zu is odd; rotary embedding turns pairs",
                                   config->head_dim);
    }
    return adamoe_ok();
}

static adamoe_status read_window(const adamoe_config_reader *reader, adamoe_config *config)
{
    if (reader->family->window == ADAMOE_WINDOW_IF_USED) {
        return adamoe_ok();
    }
    const bool said = json_object_get(reader->root, "sliding_window") != NULL;
    config->sliding_window = said ? 0 : reader->family->sliding_window;
    ADAMOE_TRY(adamoe_config_optional_size(reader, "sliding_window", &config->sliding_window));
    if (reader->family->window == ADAMOE_NO_WINDOW && config->sliding_window != 0) {
        return adamoe_config_error(reader, "sliding_window", "%s has none", reader->family->name);
    }
    return adamoe_ok();
}

/* Newer files list what attention each layer has; all layers have what sliding_window says. */
static adamoe_status check_layer_types(const adamoe_config_reader *reader, const adamoe_config *config)
{
    const json_t *list = adamoe_config_get(reader, "layer_types");
    const char *expected = config->sliding_window > 0 ? "sliding_attention" : "full_attention";
    if (list == NULL) {
        return adamoe_ok();
    }
    if (json_array_size(list) != config->layers) {
        return adamoe_config_error(reader, "layer_types", "is no list of %zu names, one for each layer",
                                   config->layers);
    }
    for (size_t i = 0; i < config->layers; ++i) {
        const char *type = json_string_value(json_array_get(list, i));
        if (type == NULL || strcmp(type, expected) != 0) {
            return adamoe_config_error(reader, "layer_types",
                                       "layer %zu: %.60s, but sliding_window makes it %s", i,
                                       type == NULL ? "no name" : type, expected);
        }
    }
    return adamoe_ok();
}

static adamoe_status read_sizes(const adamoe_config_reader *reader, adamoe_config *config)
{
    const char *size_key =
        reader->family->expert_size != NULL ? reader->family->expert_size : "intermediate_size";
    ADAMOE_TRY(adamoe_config_size(reader, "vocab_size", &config->vocab_size));
    ADAMOE_TRY(adamoe_config_size(reader, "hidden_size", &config->hidden_size));
    ADAMOE_TRY(adamoe_config_size(reader, size_key, &config->intermediate_size));
    ADAMOE_TRY(adamoe_config_size(reader, "num_hidden_layers", &config->layers));
    ADAMOE_TRY(adamoe_config_size(reader, "max_position_embeddings", &config->context));
    ADAMOE_TRY(read_heads(reader, config));
    ADAMOE_TRY(read_window(reader, config));
    ADAMOE_TRY(check_layer_types(reader, config));
    return config->vocab_size <= UINT32_MAX
               ? adamoe_ok()
               : adamoe_config_error(reader, "vocab_size", "is beyond 32-bit ids");
}

/* True where a * b * c elements of the widest type, and a sum of a few of them, can be addressed. */
static bool is_addressable(size_t a, size_t b, size_t c)
{
    size_t product;
    return !__builtin_mul_overflow(a, b, &product) && !__builtin_mul_overflow(product, c, &product) &&
           product <= SIZE_MAX / 64;
}

static adamoe_status check_products(const adamoe_config_reader *reader, const adamoe_config *config)
{
    const size_t d = config->hidden_size;
    if (!is_addressable(config->vocab_size, d, 1)) {
        return adamoe_config_error(reader, "vocab_size", "times hidden_size overflows");
    }
    if (!is_addressable(config->heads, config->head_dim, d)) {
        return adamoe_config_error(reader, "num_attention_heads",
                                   "times head_dim times hidden_size overflows");
    }
    if (!is_addressable(config->layers, config->heads, config->head_dim) ||
        !is_addressable(config->layers, config->experts, 1)) {
        return adamoe_config_error(reader, "num_hidden_layers", "times the size of a layer overflows");
    }
    if (!is_addressable(config->intermediate_size, d, config->experts)) {
        return adamoe_config_error(reader, "intermediate_size", "times hidden_size times experts overflows");
    }
    if (!is_addressable(config->shared_intermediate_size, d, 3)) {
        return adamoe_config_error(reader, "shared_expert_intermediate_size", "times hidden_size overflows");
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- router */

/* Families have called the number by either name, and newer files of one have what older ones of another had. */
static adamoe_status read_true_experts(const adamoe_config_reader *reader, size_t *out)
{
    size_t other = 0;
    ADAMOE_TRY(adamoe_config_optional_size(reader, "num_experts", &other));
    if (other == 0) {
        return adamoe_config_size(reader, "num_local_experts", out);
    }
    *out = other;
    ADAMOE_TRY(adamoe_config_optional_size(reader, "num_local_experts", out));
    return *out == other
               ? adamoe_ok()
               : adamoe_config_error(reader, "num_experts", "%zu, but num_local_experts is %zu", other, *out);
}

static adamoe_status read_null_experts(const adamoe_config_reader *reader, adamoe_config *config, bool *given)
{
    const json_t *value = adamoe_config_get(reader, "num_null_experts");
    *given = value != NULL;
    if (*given && !adamoe_json_size(value, &config->null_experts)) {
        return adamoe_config_error(reader, "num_null_experts", "is no count");
    }
    return adamoe_ok();
}

static adamoe_status read_rule(const adamoe_config_reader *reader, adamoe_rule *rule)
{
    size_t norm, kind;
    bool normalises;
    ADAMOE_TRY(adamoe_config_size(reader, "num_experts_per_tok", &rule->top_k));
    ADAMOE_TRY(adamoe_config_choice(reader, "norm", adamoe_norm_names, ADAMOE_NORMS, &norm));
    ADAMOE_TRY(adamoe_config_choice(reader, "null_kind", adamoe_null_kind_names, ADAMOE_NULL_KINDS, &kind));
    ADAMOE_TRY(adamoe_config_boolean(reader, "norm_topk_prob", &normalises));
    const bool unsaid = adamoe_config_get(reader, "norm") == NULL;
    rule->norm =
        unsaid && reader->family->normalises_if_said && !normalises ? ADAMOE_NORM_EVERY : (adamoe_norm)norm;
    rule->null_kind = (adamoe_null_kind)kind;
    return adamoe_ok();
}

static adamoe_status read_router(const adamoe_config_reader *reader, adamoe_config *config,
                                 bool *null_experts_given)
{
    ADAMOE_TRY(read_true_experts(reader, &config->experts));
    ADAMOE_TRY(read_null_experts(reader, config, null_experts_given));
    ADAMOE_TRY(read_rule(reader, &config->rule));
    size_t choices;
    if (__builtin_add_overflow(config->experts, config->null_experts, &choices) || choices > UINT32_MAX) {
        return adamoe_config_error(reader, "num_local_experts", "with num_null_experts is beyond 32-bit ids");
    }
    if (*null_experts_given && config->rule.top_k > choices) {
        return adamoe_config_error(reader, "num_experts_per_tok",
                                   "%zu is above the %zu experts, true and null", config->rule.top_k,
                                   choices);
    }
    return adamoe_ok();
}

/* A multiplier that is not given is 1, as the library takes it; that of attention too. */
static adamoe_status read_multiplier(const adamoe_config_reader *reader, const char *key, double *out)
{
    const json_t *value = adamoe_config_get(reader, key);
    *out = 1.0;
    return value == NULL ? adamoe_ok() : adamoe_config_positive(reader, key, value, out);
}

static adamoe_status read_multipliers(const adamoe_config_reader *reader, adamoe_multipliers *out)
{
    ADAMOE_TRY(read_multiplier(reader, "embedding_multiplier", &out->embedding));
    ADAMOE_TRY(read_multiplier(reader, "attention_multiplier", &out->attention));
    ADAMOE_TRY(read_multiplier(reader, "residual_multiplier", &out->residual));
    return read_multiplier(reader, "logits_scaling", &out->logits);
}

/* Biases of q, k, v and o, and a limit of what q, k and v give, in families that have the keys (families.c). */
static adamoe_status read_attention(const adamoe_config_reader *reader, adamoe_config *config)
{
    const json_t *limit = adamoe_config_get(reader, "clip_qkv");
    bool biases = false;
    ADAMOE_TRY(adamoe_config_boolean(reader, "attention_bias", &biases));
    config->architecture.biases = config->architecture.biases || biases;
    config->architecture.output_bias = biases;
    config->architecture.clipped = limit != NULL;
    return limit == NULL ? adamoe_ok() : adamoe_config_positive(reader, "clip_qkv", limit, &config->clip);
}

/* What else the family's architecture has sizes of. Newer files say that q, k and v have biases, older ones mean it. */
static adamoe_status read_architecture(const adamoe_config_reader *reader, adamoe_config *config)
{
    ADAMOE_TRY(read_attention(reader, config));
    if (adamoe_config_get(reader, "qkv_bias") != NULL) {
        ADAMOE_TRY(adamoe_config_boolean(reader, "qkv_bias", &config->architecture.biases));
    }
    if (config->architecture.shared_expert) {
        ADAMOE_TRY(
            adamoe_config_size(reader, "shared_expert_intermediate_size", &config->shared_intermediate_size));
    }
    return read_multipliers(reader, &config->multiplier);
}

static adamoe_status read_experts(const adamoe_config_reader *reader, adamoe_config *config,
                                  bool *null_experts_given)
{
    *null_experts_given = false;
    if (reader->family->experts) {
        return read_router(reader, config, null_experts_given);
    }
    config->experts = 1;
    config->rule.top_k = 1;
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------- special tokens */

static adamoe_status read_token(const adamoe_config_reader *reader, const char *key, const json_t *value,
                                size_t vocab_size, uint32_t *out)
{
    size_t id;
    if (!adamoe_json_size(value, &id)) {
        return adamoe_config_error(reader, key, "is no token id");
    }
    if (id >= vocab_size) {
        return adamoe_config_error(reader, key, "%zu is outside the vocabulary of %zu", id, vocab_size);
    }
    *out = (uint32_t)id;
    return adamoe_ok();
}

/* One end-of-sequence token or several; any of them ends a text. */
static adamoe_status read_eos(const adamoe_config_reader *reader, const json_t *eos, adamoe_config *config)
{
    const size_t count = json_is_array(eos) ? json_array_size(eos) : eos != NULL;
    if (count > ADAMOE_MOST_EOS) {
        return adamoe_config_error(reader, "eos_token_id", "%zu tokens; there may be at most %d", count,
                                   ADAMOE_MOST_EOS);
    }
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(read_token(reader, "eos_token_id", json_is_array(eos) ? json_array_get(eos, i) : eos,
                              config->vocab_size, &config->eos[i]));
    }
    config->eos_count = count;
    return adamoe_ok();
}

static adamoe_status read_tokens(const adamoe_config_reader *reader, adamoe_config *config)
{
    const json_t *bos = adamoe_config_get(reader, "bos_token_id");
    if (bos != NULL) {
        ADAMOE_TRY(read_token(reader, "bos_token_id", bos, config->vocab_size, &config->bos));
        config->has_bos = true;
    }
    return read_eos(reader, adamoe_config_get(reader, "eos_token_id"), config);
}

/* -------------------------------------------------------------------------------------------------- whole */

static adamoe_status read_config(adamoe_config_reader *reader, adamoe_config *config,
                                 bool *null_experts_given)
{
    static const char *const activations[] = {"silu"};
    size_t activation;
    ADAMOE_TRY(read_family(reader));
    config->architecture = reader->family->architecture;
    ADAMOE_TRY(adamoe_config_check_keys(reader));
    ADAMOE_TRY(adamoe_config_choice(reader, "hidden_act", activations, 1, &activation));
    ADAMOE_TRY(read_sizes(reader, config));
    ADAMOE_TRY(read_architecture(reader, config));
    ADAMOE_TRY(read_experts(reader, config, null_experts_given));
    ADAMOE_TRY(check_products(reader, config));
    ADAMOE_TRY(adamoe_config_positive(reader, "rms_norm_eps", adamoe_config_get(reader, "rms_norm_eps"),
                                      &config->rms_norm_eps));
    ADAMOE_TRY(adamoe_config_read_rope(reader, config));
    ADAMOE_TRY(adamoe_config_boolean(reader, "tie_word_embeddings", &config->architecture.tied_head));
    return read_tokens(reader, config);
}

adamoe_status adamoe_config_parse(const char *path, const char *text, size_t length, adamoe_config *out,
                                  bool *null_experts_given)
{
    json_t *root = NULL;
    ADAMOE_TRY(adamoe_json_parse(path, text, length, &root));
    adamoe_config_reader reader = {path, root, NULL};
    adamoe_config config = {0};
    bool given = false;
    const adamoe_status status = json_is_object(root)
                                     ? read_config(&reader, &config, &given)
                                     : adamoe_error(ADAMOE_BAD_INPUT, "%s: line 1: is no object", path);
    json_decref(root);
    if (status.code == ADAMOE_OK) {
        *out = config;
        *null_experts_given = given;
    }
    return status;
}

adamoe_status adamoe_config_read(const char *path, adamoe_config *out, bool *null_experts_given)
{
    adamoe_mapped_file file;
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    const adamoe_status status =
        adamoe_config_parse(path, (const char *)file.data, file.size, out, null_experts_given);
    adamoe_mapped_file_close(&file);
    return status;
}

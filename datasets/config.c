/*
 * config.json of a checkpoint of one of the families in the table below.
 *
 * Every key is either read, known to change nothing at inference, or refused: a key that nobody has thought
 * of might ask for something that is not implemented. Keys that begin with an underscore are notes of the
 * library that wrote the file; null means that a key does not apply.
 */
#include "config.h"
#include "files/json_file.h"
#include "files/mapped_file.h"

#include <string.h>

typedef struct config_reader {
    const char *path;
    const json_t *root;
    const struct family *family; /* set by read_family */
} config_reader;

/* Models that one name in `architectures` stands for. */
typedef struct family {
    const char *name, *model_type;
    double rope_theta;       /* what a file means that does not say */
    bool key_value_heads;    /* they must be given */
    bool has_sliding_window; /* or may have one */
    /* Sets what the architecture is made of and its router's sizes. *null_experts_given as in config.h. */
    adamoe_status (*read)(const config_reader *reader, adamoe_config *config, bool *null_experts_given);
} family;

static adamoe_status read_router(const config_reader *reader, adamoe_config *config,
                                 bool *null_experts_given);
static adamoe_status read_dense(const config_reader *reader, adamoe_config *config, bool *null_experts_given);

/* Absent, the number of key-value heads means that of heads in a Llama config, but 8 in a Mixtral one: better
 * say it. */
static const family families[] = {
    {"MixtralForCausalLM", "mixtral", 1e6, true, true, read_router},
    {"LlamaForCausalLM", "llama", 1e4, false, false, read_dense},
};

#define FAMILIES (sizeof families / sizeof *families)

/* Keys whose value is read below. */
static const char *const read_keys[] = {
    "architectures",       "bos_token_id",
    "eos_token_id",        "head_dim",
    "hidden_act",          "hidden_size",
    "intermediate_size",   "max_position_embeddings",
    "model_type",          "norm",
    "null_kind",           "num_attention_heads",
    "num_experts_per_tok", "num_hidden_layers",
    "num_key_value_heads", "num_local_experts",
    "num_null_experts",    "rms_norm_eps",
    "rope_parameters",     "rope_theta",
    "sliding_window",      "tie_word_embeddings",
    "vocab_size",
};

/* Keys that concern training, or how the library stores and returns things. */
static const char *const harmless_keys[] = {
    "attention_dropout",    "dtype",
    "initializer_range",    "is_llama_config",
    "output_attentions",    "output_hidden_states",
    "output_router_logits", "pad_token_id",
    "pretraining_tp", /* splits a product into parts of the same sum */
    "return_dict",          "router_aux_loss_coef",
    "router_jitter_noise", /* applied while training only */
    "torch_dtype",          "transformers.js_config",
    "transformers_version", "use_cache",
};

/* Keys of what only a model with a router has. */
static const char *const router_keys[] = {
    "norm", "null_kind", "num_experts_per_tok", "num_local_experts", "num_null_experts",
};

/* ---------------------------------------------------------------------------------------------- one value */

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static adamoe_status
key_error(const config_reader *reader, const char *key, const char *format, ...)
{
    char reason[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: %.120s: %s", reader->path, key, reason);
}

/* NULL where the key is absent or null. */
static const json_t *get(const config_reader *reader, const char *key)
{
    const json_t *value = json_object_get(reader->root, key);
    return json_is_null(value) ? NULL : value;
}

static bool is_among(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

#define IS_AMONG(key, keys) is_among(key, keys, sizeof(keys) / sizeof(keys)[0])

/* A positive count; *out is left alone where the key is absent or null. */
static adamoe_status read_optional_size(const config_reader *reader, const char *key, size_t *out)
{
    const json_t *value = get(reader, key);
    if (value == NULL) {
        return adamoe_ok();
    }
    if (!adamoe_json_size(value, out) || *out == 0) {
        return key_error(reader, key, "is no positive integer");
    }
    return adamoe_ok();
}

static adamoe_status read_size(const config_reader *reader, const char *key, size_t *out)
{
    if (get(reader, key) == NULL) {
        return key_error(reader, key, "missing");
    }
    return read_optional_size(reader, key, out);
}

/* A positive number; jansson refuses what a double cannot hold. */
static adamoe_status read_positive(const config_reader *reader, const char *key, const json_t *value,
                                   double *out)
{
    if (value == NULL) {
        return key_error(reader, key, "missing");
    }
    if (!json_is_number(value) || json_number_value(value) <= 0.0) {
        return key_error(reader, key, "is no positive number");
    }
    *out = json_number_value(value);
    return adamoe_ok();
}

static adamoe_status read_boolean(const config_reader *reader, const char *key, bool *out)
{
    const json_t *value = get(reader, key);
    if (value != NULL && !json_is_boolean(value)) {
        return key_error(reader, key, "is no boolean");
    }
    *out = json_is_true(value);
    return adamoe_ok();
}

/* The index of a string among names[count]; 0 where the key is absent. */
static adamoe_status read_choice(const config_reader *reader, const char *key, const char *const *names,
                                 size_t count, size_t *out)
{
    *out = 0;
    const json_t *value = get(reader, key);
    if (value == NULL) {
        return adamoe_ok();
    }
    if (!json_is_string(value)) {
        return key_error(reader, key, "is no string");
    }
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(json_string_value(value), names[i]) == 0) {
            *out = i;
            return adamoe_ok();
        }
    }
    return key_error(reader, key, "%.80s is not implemented", json_string_value(value));
}

/* ---------------------------------------------------------------------------------------- what is refused */

/* Keys that are allowed with the one value that changes nothing. */
static adamoe_status check_neutral(const config_reader *reader, const char *key, const json_t *value,
                                   bool *known)
{
    static const char *const false_keys[] = {"attention_bias", "mlp_bias", "rope_interleaved"};
    static const char *const null_keys[] = {"rope_scaling", "quantization_config"};
    const bool must_be_false = IS_AMONG(key, false_keys);
    const bool must_be_null = IS_AMONG(key, null_keys);
    const bool must_be_one = strcmp(key, "partial_rotary_factor") == 0;
    *known = must_be_false || must_be_null || must_be_one;
    const bool accepted = (must_be_false && json_is_false(value)) ||
                          (must_be_one && json_is_number(value) && json_number_value(value) == 1.0);
    return *known && !accepted ? key_error(reader, key, "not implemented") : adamoe_ok();
}

static adamoe_status check_keys(const config_reader *reader)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)reader->root, key, value)
    {
        bool known;
        if (json_is_null(value) || key[0] == '_') {
            continue;
        }
        ADAMOE_TRY(check_neutral(reader, key, value, &known));
        if (!known && !IS_AMONG(key, read_keys) && !IS_AMONG(key, harmless_keys)) {
            return key_error(reader, key, "unknown key");
        }
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- family */

static adamoe_status read_model_type(const config_reader *reader, const family **out)
{
    const char *types[FAMILIES];
    size_t type;
    for (size_t i = 0; i < FAMILIES; ++i) {
        types[i] = families[i].model_type;
    }
    ADAMOE_TRY(read_choice(reader, "model_type", types, FAMILIES, &type));
    *out = &families[type];
    return adamoe_ok();
}

/* `architectures` lists one name; `model_type` says the same in lower case. Either will do. */
static adamoe_status read_family(config_reader *reader)
{
    const json_t *list = get(reader, "architectures");
    const bool has_type = get(reader, "model_type") != NULL;
    const family *of_type;
    ADAMOE_TRY(read_model_type(reader, &of_type));
    if (list == NULL) {
        reader->family = of_type;
        return has_type ? adamoe_ok() : key_error(reader, "architectures", "missing");
    }
    const char *name = json_string_value(json_array_get(list, 0));
    if (json_array_size(list) != 1 || name == NULL) {
        return key_error(reader, "architectures", "is no list of one name");
    }
    for (size_t i = 0; i < FAMILIES && reader->family == NULL; ++i) {
        reader->family = strcmp(name, families[i].name) == 0 ? &families[i] : NULL;
    }
    if (reader->family == NULL) {
        return key_error(reader, "architectures", "%.80s is not implemented", name);
    }
    return has_type && reader->family != of_type ? key_error(reader, "model_type", "is not that of %s", name)
                                                 : adamoe_ok();
}

/* -------------------------------------------------------------------------------------------------- sizes */

static adamoe_status read_heads(const config_reader *reader, adamoe_config *config)
{
    ADAMOE_TRY(read_size(reader, "num_attention_heads", &config->heads));
    config->key_value_heads = config->heads;
    if (reader->family->key_value_heads) {
        ADAMOE_TRY(read_size(reader, "num_key_value_heads", &config->key_value_heads));
    }
    ADAMOE_TRY(read_optional_size(reader, "num_key_value_heads", &config->key_value_heads));
    if (config->heads % config->key_value_heads != 0) {
        return key_error(reader, "num_key_value_heads", "%zu does not divide the %zu heads",
                         config->key_value_heads, config->heads);
    }
    config->head_dim = 0;
    ADAMOE_TRY(read_optional_size(reader, "head_dim", &config->head_dim));
    if (config->head_dim == 0 && config->hidden_size % config->heads != 0) {
        return key_error(reader, "num_attention_heads", "%zu do not divide hidden_size %zu", config->heads,
                         config->hidden_size);
    }
    config->head_dim = config->head_dim == 0 ? config->hidden_size / config->heads : config->head_dim;
    if (config->head_dim % 2 != 0) {
        return key_error(reader, "head_dim", "%zu is odd; rotary embedding turns pairs", config->head_dim);
    }
    return adamoe_ok();
}

static adamoe_status read_sizes(const config_reader *reader, adamoe_config *config)
{
    ADAMOE_TRY(read_size(reader, "vocab_size", &config->vocab_size));
    ADAMOE_TRY(read_size(reader, "hidden_size", &config->hidden_size));
    ADAMOE_TRY(read_size(reader, "intermediate_size", &config->intermediate_size));
    ADAMOE_TRY(read_size(reader, "num_hidden_layers", &config->layers));
    ADAMOE_TRY(read_size(reader, "max_position_embeddings", &config->context));
    ADAMOE_TRY(read_heads(reader, config));
    ADAMOE_TRY(read_optional_size(reader, "sliding_window", &config->sliding_window));
    if (!reader->family->has_sliding_window && config->sliding_window != 0) {
        return key_error(reader, "sliding_window", "%s has none", reader->family->name);
    }
    return config->vocab_size <= UINT32_MAX ? adamoe_ok()
                                            : key_error(reader, "vocab_size", "is beyond 32-bit ids");
}

/* True where a * b * c elements of the widest type, and a sum of a few of them, can be addressed. */
static bool is_addressable(size_t a, size_t b, size_t c)
{
    size_t product;
    return !__builtin_mul_overflow(a, b, &product) && !__builtin_mul_overflow(product, c, &product) &&
           product <= SIZE_MAX / 64;
}

static adamoe_status check_products(const config_reader *reader, const adamoe_config *config)
{
    const size_t d = config->hidden_size;
    if (!is_addressable(config->vocab_size, d, 1)) {
        return key_error(reader, "vocab_size", "times hidden_size overflows");
    }
    if (!is_addressable(config->heads, config->head_dim, d)) {
        return key_error(reader, "num_attention_heads", "times head_dim times hidden_size overflows");
    }
    if (!is_addressable(config->layers, config->heads, config->head_dim) ||
        !is_addressable(config->layers, config->experts, 1)) {
        return key_error(reader, "num_hidden_layers", "times the size of a layer overflows");
    }
    if (!is_addressable(config->intermediate_size, d, config->experts)) {
        return key_error(reader, "intermediate_size", "times hidden_size times experts overflows");
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- router */

static adamoe_status read_null_experts(const config_reader *reader, adamoe_config *config, bool *given)
{
    const json_t *value = get(reader, "num_null_experts");
    *given = value != NULL;
    if (*given && !adamoe_json_size(value, &config->null_experts)) {
        return key_error(reader, "num_null_experts", "is no count");
    }
    return adamoe_ok();
}

static adamoe_status read_rule(const config_reader *reader, adamoe_rule *rule)
{
    static const char *const norms[] = {"true", "all", "none"};
    static const char *const kinds[] = {"zero", "identity"};
    size_t norm, kind;
    ADAMOE_TRY(read_size(reader, "num_experts_per_tok", &rule->top_k));
    ADAMOE_TRY(read_choice(reader, "norm", norms, sizeof norms / sizeof norms[0], &norm));
    ADAMOE_TRY(read_choice(reader, "null_kind", kinds, sizeof kinds / sizeof kinds[0], &kind));
    rule->norm = (adamoe_norm)norm;
    rule->null_kind = (adamoe_null_kind)kind;
    return adamoe_ok();
}

static adamoe_status read_router(const config_reader *reader, adamoe_config *config, bool *null_experts_given)
{
    ADAMOE_TRY(read_size(reader, "num_local_experts", &config->experts));
    ADAMOE_TRY(read_null_experts(reader, config, null_experts_given));
    ADAMOE_TRY(read_rule(reader, &config->rule));
    size_t choices;
    if (__builtin_add_overflow(config->experts, config->null_experts, &choices) || choices > UINT32_MAX) {
        return key_error(reader, "num_local_experts", "with num_null_experts is beyond 32-bit ids");
    }
    if (*null_experts_given && config->rule.top_k > choices) {
        return key_error(reader, "num_experts_per_tok", "%zu is above the %zu experts, true and null",
                         config->rule.top_k, choices);
    }
    return adamoe_ok();
}

static adamoe_status read_dense(const config_reader *reader, adamoe_config *config, bool *null_experts_given)
{
    for (size_t i = 0; i < sizeof router_keys / sizeof router_keys[0]; ++i) {
        if (get(reader, router_keys[i]) != NULL) {
            return key_error(reader, router_keys[i], "%s has no router", reader->family->name);
        }
    }
    *null_experts_given = false;
    config->architecture.dense = true;
    config->experts = 1;
    config->rule.top_k = 1;
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------- rotary embedding */

static adamoe_status read_rope_parameters(const config_reader *reader, const json_t *parameters,
                                          const json_t **theta)
{
    static const char name[] = "rope_parameters";
    if (!json_is_object(parameters)) {
        return key_error(reader, name, "is no object");
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)parameters, key, value)
    {
        const bool is_type = strcmp(key, "rope_type") == 0 || strcmp(key, "type") == 0;
        const bool is_factor = strcmp(key, "partial_rotary_factor") == 0;
        if (strcmp(key, "rope_theta") == 0) {
            *theta = value;
        } else if (is_type && json_is_string(value) && strcmp(json_string_value(value), "default") == 0) {
            continue;
        } else if (is_factor && json_is_number(value) && json_number_value(value) == 1.0) {
            continue;
        } else if (!json_is_null(value)) {
            return key_error(reader, name, "%.80s: not implemented", key);
        }
    }
    return adamoe_ok();
}

/* Old files have rope_theta at the top, new ones in rope_parameters; those older than both leave it out, and
 * mean what the library took then. */
static adamoe_status read_rope_theta(const config_reader *reader, adamoe_config *config)
{
    const json_t *old = get(reader, "rope_theta"), *parameters = get(reader, "rope_parameters"), *new = NULL;
    if (parameters != NULL) {
        ADAMOE_TRY(read_rope_parameters(reader, parameters, &new));
    }
    config->rope_theta = reader->family->rope_theta;
    if (new != NULL) {
        ADAMOE_TRY(read_positive(reader, "rope_parameters: rope_theta", new, &config->rope_theta));
    }
    const double other = config->rope_theta;
    if (old != NULL) {
        ADAMOE_TRY(read_positive(reader, "rope_theta", old, &config->rope_theta));
    }
    if (old != NULL && new != NULL && other != config->rope_theta) {
        return key_error(reader, "rope_theta", "is not that of rope_parameters");
    }
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------- special tokens */

static adamoe_status read_token(const config_reader *reader, const char *key, const json_t *value,
                                size_t vocab_size, uint32_t *out)
{
    size_t id;
    if (!adamoe_json_size(value, &id)) {
        return key_error(reader, key, "is no token id");
    }
    if (id >= vocab_size) {
        return key_error(reader, key, "%zu is outside the vocabulary of %zu", id, vocab_size);
    }
    *out = (uint32_t)id;
    return adamoe_ok();
}

/* One end-of-sequence token or several; any of them ends a text. */
static adamoe_status read_eos(const config_reader *reader, const json_t *eos, adamoe_config *config)
{
    const size_t count = json_is_array(eos) ? json_array_size(eos) : eos != NULL;
    if (count > ADAMOE_MOST_EOS) {
        return key_error(reader, "eos_token_id", "%zu tokens; there may be at most %d", count,
                         ADAMOE_MOST_EOS);
    }
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(read_token(reader, "eos_token_id", json_is_array(eos) ? json_array_get(eos, i) : eos,
                              config->vocab_size, &config->eos[i]));
    }
    config->eos_count = count;
    return adamoe_ok();
}

static adamoe_status read_tokens(const config_reader *reader, adamoe_config *config)
{
    const json_t *bos = get(reader, "bos_token_id");
    if (bos != NULL) {
        ADAMOE_TRY(read_token(reader, "bos_token_id", bos, config->vocab_size, &config->bos));
        config->has_bos = true;
    }
    return read_eos(reader, get(reader, "eos_token_id"), config);
}

/* -------------------------------------------------------------------------------------------------- whole */

static adamoe_status read_config(config_reader *reader, adamoe_config *config, bool *null_experts_given)
{
    static const char *const activations[] = {"silu"};
    size_t activation;
    ADAMOE_TRY(read_family(reader));
    ADAMOE_TRY(check_keys(reader));
    ADAMOE_TRY(read_choice(reader, "hidden_act", activations, 1, &activation));
    ADAMOE_TRY(read_sizes(reader, config));
    ADAMOE_TRY(reader->family->read(reader, config, null_experts_given));
    ADAMOE_TRY(check_products(reader, config));
    ADAMOE_TRY(read_positive(reader, "rms_norm_eps", get(reader, "rms_norm_eps"), &config->rms_norm_eps));
    ADAMOE_TRY(read_rope_theta(reader, config));
    ADAMOE_TRY(read_boolean(reader, "tie_word_embeddings", &config->architecture.tied_head));
    return read_tokens(reader, config);
}

adamoe_status adamoe_config_parse(const char *path, const char *text, size_t length, adamoe_config *out,
                                  bool *null_experts_given)
{
    json_t *root = NULL;
    ADAMOE_TRY(adamoe_json_parse(path, text, length, &root));
    config_reader reader = {path, root, NULL};
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

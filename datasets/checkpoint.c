/*
 * A Hugging Face folder as a model: every weight is a view of the mapped files, checked against config.json.
 * Conversions copy what they add and leave the files alone.
 *
 * Left out: the tokenizer, generation_config.json, and weights in other containers than safetensors.
 */
#include "checkpoint.h"
#include "layer_weights.h"
#include "router_file.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct adamoe_checkpoint {
    char *config_path;
    adamoe_safetensors *tensors;
    adamoe_weights weights; /* views of the tensors */
    uint8_t *null_rows;     /* the rows of gate2 of all layers after a conversion, else NULL */
};

/* What opening needs besides: where names begin, and which tensors have been used. */
typedef struct model_reader {
    adamoe_checkpoint *checkpoint;
    adamoe_tensor_reader tensors;
    const char *prefix;      /* "model." or "" */
    bool null_experts_given; /* by config.json */
} model_reader;

static adamoe_status no_memory(const char *path)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: open: out of memory", path);
}

/* One tensor, into the field that it fills. */
static adamoe_status read_tensor(model_reader *reader, adamoe_weight weight, size_t layer)
{
    adamoe_weights *weights = &reader->checkpoint->weights;
    const adamoe_model_tensor tensor = adamoe_tensor_of(&weights->model.config, weight, layer, 0);
    const adamoe_tensor_name name =
        adamoe_name_of_tensor(&tensor, adamoe_naming_of(&weights->model.config), reader->prefix);
    return adamoe_tensor_reader_matrix(&reader->tensors, name.text, tensor.rows, tensor.columns,
                                       adamoe_weights_at(weights, &tensor));
}

/* ---------------------------------------------------------------------------------------------- one layer */

/* Layer 0 decides how many null experts there are, unless the config has said so. */
static adamoe_status check_null_experts(model_reader *reader, size_t layer, const char *prefix,
                                        adamoe_tensor_naming naming)
{
    adamoe_config *config = &reader->checkpoint->weights.model.config;
    const size_t null_experts = reader->checkpoint->weights.block[layer].moe.null_experts;
    if (layer == 0 && !reader->null_experts_given) {
        config->null_experts = null_experts;
    }
    if (null_experts == config->null_experts) {
        return adamoe_ok();
    }
    return adamoe_tensor_error(adamoe_safetensors_path(reader->checkpoint->tensors),
                               adamoe_name_in_layer(prefix, naming, ADAMOE_WEIGHT_GATE2, 0).text,
                               "%zu null experts, but %s has %zu", null_experts,
                               reader->null_experts_given ? "config.json" : "layer 0", config->null_experts);
}

static adamoe_tensor_naming naming_of(const model_reader *reader, const char *prefix)
{
    const adamoe_config *config = &reader->checkpoint->weights.model.config;
    return config->architecture.dense ? adamoe_naming_of(config)
                                      : adamoe_layer_naming(reader->tensors.file, prefix);
}

static void layer_prefix(const model_reader *reader, size_t layer, char out[static 64])
{
    (void)snprintf(out, 64, "%slayers.%zu.", reader->prefix, layer);
}

/* Everything but the experts. Afterwards the file is known to hold `experts` rows of a gate for each layer. */
static adamoe_status read_block(model_reader *reader, size_t layer)
{
    adamoe_weights *weights = &reader->checkpoint->weights;
    const adamoe_config *config = &weights->model.config;
    char prefix[64];
    layer_prefix(reader, layer, prefix);
    const adamoe_tensor_naming naming = naming_of(reader, prefix);
    adamoe_weights_begin_layer(weights, layer);
    for (size_t i = 0; i < ADAMOE_WEIGHTS; ++i) {
        const adamoe_weight weight = (adamoe_weight)i;
        const bool router = weight == ADAMOE_WEIGHT_GATE || weight == ADAMOE_WEIGHT_GATE2;
        if (adamoe_weight_scope(weight) == ADAMOE_TENSOR_OF_LAYER && !router &&
            adamoe_has_weight(config, weight)) {
            ADAMOE_TRY(read_tensor(reader, weight, layer));
        }
    }
    ADAMOE_TRY(adamoe_layer_read_router(&reader->tensors, prefix, naming, &weights->block[layer].moe));
    return config->architecture.dense ? adamoe_ok() : check_null_experts(reader, layer, prefix, naming);
}

/* ---------------------------------------------------------------------------------------------- the model */

/* What is allocated is bounded by the files, not by what config.json claims: a layer has several tensors, and
 * read_block has found a row of a gate for each expert. */
static adamoe_status read_blocks(model_reader *reader)
{
    const adamoe_checkpoint *checkpoint = reader->checkpoint;
    adamoe_weights *weights = &reader->checkpoint->weights;
    const adamoe_config *config = &weights->model.config;
    const char *path = adamoe_safetensors_path(checkpoint->tensors);
    const size_t tensors = adamoe_safetensors_count(checkpoint->tensors);
    if (config->layers > tensors) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: num_hidden_layers: %zu, but the file has only %zu tensors",
                            checkpoint->config_path, config->layers, tensors);
    }
    weights->block = calloc(config->layers, sizeof *weights->block);
    if (weights->block == NULL) {
        return no_memory(path);
    }
    weights->model.block = weights->block;
    for (size_t i = 0; i < config->layers; ++i) {
        ADAMOE_TRY(read_block(reader, i));
    }
    weights->expert = calloc(config->layers * config->experts, sizeof *weights->expert);
    if (weights->expert == NULL) {
        return no_memory(path);
    }
    for (size_t i = 0; i < config->layers; ++i) {
        char prefix[64];
        layer_prefix(reader, i, prefix);
        ADAMOE_TRY(adamoe_layer_read_experts(&reader->tensors, prefix, naming_of(reader, prefix),
                                             &weights->block[i].moe, &weights->expert[i * config->experts]));
    }
    return adamoe_ok();
}

/* A tied head may be stored a second time. Where the copy differs from the embedding, one of the two would be
 * ignored in silence, so that is refused. */
static adamoe_status read_head(model_reader *reader)
{
    adamoe_model *model = &reader->checkpoint->weights.model;
    const adamoe_model_tensor tensor = adamoe_tensor_of(&model->config, ADAMOE_WEIGHT_HEAD, 0, 0);
    const adamoe_tensor_name name =
        adamoe_name_of_tensor(&tensor, adamoe_naming_of(&model->config), reader->prefix);
    const adamoe_matrix *embedding = &model->embedding;
    const adamoe_safetensors *file = reader->tensors.file;
    if (model->config.architecture.tied_head && adamoe_safetensors_find(file, name.text) == NULL) {
        model->head = *embedding;
        return adamoe_ok();
    }
    ADAMOE_TRY(read_tensor(reader, ADAMOE_WEIGHT_HEAD, 0));
    const size_t bytes = embedding->rows * embedding->columns * adamoe_dtype_bytes(embedding->dtype);
    if (model->config.architecture.tied_head &&
        (model->head.dtype != embedding->dtype || memcmp(model->head.data, embedding->data, bytes) != 0)) {
        return adamoe_tensor_error(adamoe_safetensors_path(file), name.text,
                                   "differs from the embedding that config.json ties it to");
    }
    return adamoe_ok();
}

static bool has_suffix(const char *text, const char *suffix)
{
    const size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

/* Old files store the inverse frequencies of the rotary embedding, which follow from rope_theta. */
static adamoe_status check_unused(const model_reader *reader)
{
    const adamoe_safetensors *file = reader->tensors.file;
    for (size_t i = 0; i < adamoe_safetensors_count(file); ++i) {
        const char *name = adamoe_safetensors_at(file, i)->name;
        if (!reader->tensors.taken[i] && !has_suffix(name, ".rotary_emb.inv_freq")) {
            return adamoe_tensor_error(adamoe_safetensors_path(file), name, "not expected");
        }
    }
    return adamoe_ok();
}

static adamoe_status check_rule(const adamoe_checkpoint *checkpoint, adamoe_rule rule, size_t null_experts)
{
    const size_t choices = checkpoint->weights.model.config.experts + null_experts;
    if (rule.top_k == 0 || rule.top_k > choices) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: num_experts_per_tok: %zu is not within 1 .. %zu",
                            checkpoint->config_path, rule.top_k, choices);
    }
    return adamoe_ok();
}

static adamoe_status read_model(model_reader *reader)
{
    const adamoe_checkpoint *checkpoint = reader->checkpoint;
    const adamoe_config *config = &checkpoint->weights.model.config;
    const bool bare = adamoe_safetensors_find(checkpoint->tensors, "embed_tokens.weight") != NULL;
    reader->prefix = bare ? "" : "model.";
    for (size_t i = 0; i < ADAMOE_WEIGHTS; ++i) {
        const adamoe_weight weight = (adamoe_weight)i;
        if (adamoe_weight_scope(weight) == ADAMOE_TENSOR_OF_MODEL && weight != ADAMOE_WEIGHT_HEAD) {
            ADAMOE_TRY(read_tensor(reader, weight, 0));
        }
    }
    ADAMOE_TRY(read_head(reader));
    ADAMOE_TRY(read_blocks(reader));
    ADAMOE_TRY(check_unused(reader));
    return check_rule(checkpoint, config->rule, config->null_experts);
}

/* --------------------------------------------------------------------------------------------- the folder */

/* A new string, or NULL where there is no memory. */
static char *within(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* What a folder has in the place of the weights that are read here, if anything that is known; else NULL. */
static const char *other_weights(const char *folder)
{
    static const char *const names[] = {"pytorch_model.bin",   "pytorch_model.bin.index.json",
                                        "consolidated.00.pth", "consolidated.safetensors",
                                        "tf_model.h5",         "flax_model.msgpack",
                                        "adapter_model.bin",   "adapter_model.safetensors"};
    const char *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && found == NULL; ++i) {
        char *path = within(folder, names[i]);
        found = path != NULL && access(path, F_OK) == 0 ? names[i] : NULL;
        free(path);
    }
    return found;
}

/* A single file is preferred to an index, as by the library that writes both. */
static adamoe_status open_weights(const char *folder, adamoe_safetensors **out)
{
    char *file = within(folder, "model.safetensors");
    char *index = within(folder, "model.safetensors.index.json");
    adamoe_status status;
    if (file == NULL || index == NULL) {
        status = no_memory(folder);
    } else if (access(file, F_OK) == 0) {
        status = adamoe_safetensors_open(file, out);
    } else if (access(index, F_OK) == 0) {
        status = adamoe_safetensors_open(index, out);
    } else {
        const char *other = other_weights(folder);
        status = adamoe_error(
            ADAMOE_BAD_INPUT, "%s: open: neither model.safetensors nor model.safetensors.index.json%s%s%s",
            folder, other == NULL ? "" : "; ", other == NULL ? "" : other,
            other == NULL ? "" : " is not read: save_pretrained of transformers makes them");
    }
    free(file);
    free(index);
    return status;
}

static adamoe_status open_checkpoint(const char *folder, adamoe_checkpoint *checkpoint)
{
    model_reader reader = {.checkpoint = checkpoint};
    checkpoint->config_path = within(folder, "config.json");
    if (checkpoint->config_path == NULL) {
        return no_memory(folder);
    }
    ADAMOE_TRY(adamoe_config_read(checkpoint->config_path, &checkpoint->weights.model.config,
                                  &reader.null_experts_given));
    ADAMOE_TRY(open_weights(folder, &checkpoint->tensors));
    ADAMOE_TRY(adamoe_tensor_reader_create(checkpoint->tensors, &reader.tensors));
    const adamoe_status status = read_model(&reader);
    adamoe_tensor_reader_free(&reader.tensors);
    return status;
}

static adamoe_status open_any(const char *folder, adamoe_checkpoint **out)
{
    adamoe_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (checkpoint == NULL) {
        return no_memory(folder);
    }
    const adamoe_status status = open_checkpoint(folder, checkpoint);
    if (status.code != ADAMOE_OK) {
        adamoe_checkpoint_close(checkpoint);
        return status;
    }
    *out = checkpoint;
    return status;
}

adamoe_status adamoe_checkpoint_open(const char *folder, adamoe_checkpoint **out)
{
    return !adamoe_router_file_in(folder)
               ? open_any(folder, out)
               : adamoe_error(ADAMOE_BAD_INPUT,
                              "%s: router.json: a model with a router of its own; train and eval run it",
                              folder);
}

adamoe_status adamoe_checkpoint_open_routed(const char *folder, adamoe_checkpoint **out,
                                            adamoe_model_router *router)
{
    *router = (adamoe_model_router){.router = NULL};
    ADAMOE_TRY(open_any(folder, out));
    if (!adamoe_router_file_in(folder)) {
        return adamoe_ok();
    }
    const adamoe_status status =
        adamoe_router_file_read(folder, &adamoe_checkpoint_model(*out)->config, router);
    if (status.code != ADAMOE_OK) {
        adamoe_checkpoint_close(*out);
        *out = NULL;
    }
    return status;
}

void adamoe_checkpoint_close(adamoe_checkpoint *checkpoint)
{
    if (checkpoint == NULL) {
        return;
    }
    free(checkpoint->null_rows);
    adamoe_weights_free(&checkpoint->weights);
    adamoe_safetensors_close(checkpoint->tensors);
    free(checkpoint->config_path);
    free(checkpoint);
}

const adamoe_model *adamoe_checkpoint_model(const adamoe_checkpoint *checkpoint)
{
    return &checkpoint->weights.model;
}

const adamoe_safetensors *adamoe_checkpoint_tensors(const adamoe_checkpoint *checkpoint)
{
    return checkpoint->tensors;
}

adamoe_status adamoe_checkpoint_check_finite(const adamoe_checkpoint *checkpoint)
{
    return adamoe_safetensors_check_finite(checkpoint->tensors);
}

/* -------------------------------------------------------------------------------------------- conversions */

adamoe_status adamoe_checkpoint_set_rule(adamoe_checkpoint *checkpoint, adamoe_rule rule)
{
    ADAMOE_TRY(check_rule(checkpoint, rule, checkpoint->weights.model.config.null_experts));
    checkpoint->weights.model.config.rule = rule;
    return adamoe_ok();
}

static adamoe_status check_conversion(const adamoe_checkpoint *checkpoint, size_t null_experts)
{
    const adamoe_config *config = &checkpoint->weights.model.config;
    const char *path = checkpoint->config_path;
    if (config->architecture.dense) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: num_null_experts: a dense model has no router", path);
    }
    if (null_experts > 0 && config->null_experts > 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: num_null_experts: the checkpoint has %zu already", path,
                            config->null_experts);
    }
    if (null_experts % config->experts != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: num_null_experts: %zu is no multiple of the %zu experts",
                            path, null_experts, config->experts);
    }
    if (null_experts > UINT32_MAX - config->experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: num_null_experts: %zu is beyond 32-bit ids", path,
                            null_experts);
    }
    return check_rule(checkpoint, config->rule, null_experts);
}

/* Room for gate2 of all layers, of the widest dtype; NULL for no rows. */
static adamoe_status allocate_null_rows(const adamoe_checkpoint *checkpoint, size_t null_experts,
                                        uint8_t **out)
{
    const adamoe_config *config = &checkpoint->weights.model.config;
    size_t layer_elements;
    *out = NULL;
    if (null_experts == 0) {
        return adamoe_ok();
    }
    if (!__builtin_mul_overflow(null_experts, config->hidden_size, &layer_elements) &&
        layer_elements <= SIZE_MAX / sizeof(float)) {
        *out = calloc(config->layers, layer_elements * sizeof(float));
    }
    return *out != NULL ? adamoe_ok() : no_memory(checkpoint->config_path);
}

static void set_gate2(adamoe_layer *layer, size_t null_experts, uint8_t *rows)
{
    const adamoe_matrix *gate = &layer->gate;
    const size_t bytes = gate->rows * gate->columns * adamoe_dtype_bytes(gate->dtype);
    for (size_t copy = 0; copy < null_experts / gate->rows; ++copy) {
        memcpy(rows + copy * bytes, gate->data, bytes);
    }
    layer->null_experts = null_experts;
    layer->gate2 = (adamoe_matrix){rows, gate->dtype, null_experts, gate->columns};
}

adamoe_status adamoe_checkpoint_set_null_experts(adamoe_checkpoint *checkpoint, size_t null_experts)
{
    adamoe_config *config = &checkpoint->weights.model.config;
    uint8_t *rows;
    ADAMOE_TRY(check_conversion(checkpoint, null_experts));
    ADAMOE_TRY(allocate_null_rows(checkpoint, null_experts, &rows));
    const size_t layer_bytes = null_experts * config->hidden_size * sizeof(float);
    for (size_t i = 0; i < config->layers; ++i) {
        set_gate2(&checkpoint->weights.block[i].moe, null_experts,
                  rows == NULL ? NULL : rows + i * layer_bytes);
    }
    free(checkpoint->null_rows);
    checkpoint->null_rows = rows;
    config->null_experts = null_experts;
    return adamoe_ok();
}

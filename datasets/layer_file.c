/*
 * One expert layer with its inputs in a safetensors file. Names are those of a checkpoint without
 * `model.layers.{i}.`; sizes come from the shapes, and __metadata__ must agree with them.
 *
 * Tensors that are not part of the layer (expected outputs, say) are left to the caller, and so is all that a
 * router reads where __metadata__ names one. Left out: dense layers, which have no router to test.
 */
#include "checkpoint.h"
#include "layer_weights.h"
#include "numbers.h"
#include "router.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct adamoe_layer_file {
    adamoe_safetensors *tensors;
    adamoe_layer layer;
    adamoe_expert *expert; /* [n] */
    adamoe_rule rule;
    const char *router;   /* its name, or NULL */
    float *hidden_states; /* [tokens, hidden_size] */
    size_t tokens;
};

static adamoe_status no_memory(const char *path)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: open: out of memory", path);
}

static adamoe_status metadata_error(const adamoe_layer_file *file, const char *key, const char *value,
                                    const char *reason)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %s: %.80s %s",
                        adamoe_safetensors_path(file->tensors), key, value, reason);
}

/* ----------------------------------------------------------------------------------------------- metadata */

/* Decimal digits only; strtoumax alone would take blanks and signs. */
static bool parse_count(const char *text, size_t *out)
{
    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0') {
        return false;
    }
    errno = 0;
    const unsigned long long value = strtoull(text, NULL, 10);
    *out = (size_t)value;
    return errno == 0 && value <= SIZE_MAX;
}

/* *given is set where the file has the key. */
static adamoe_status read_count(const adamoe_layer_file *file, const char *key, size_t *out, bool *given)
{
    const char *text = adamoe_safetensors_metadata(file->tensors, key);
    *given = text != NULL;
    if (*given && !parse_count(text, out)) {
        return metadata_error(file, key, text, "is no count");
    }
    return adamoe_ok();
}

static adamoe_status check_count(const adamoe_layer_file *file, const char *key, size_t actual)
{
    bool given;
    size_t count = 0;
    ADAMOE_TRY(read_count(file, key, &count, &given));
    if (given && count != actual) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %s: %zu, but the tensors have %zu",
                            adamoe_safetensors_path(file->tensors), key, count, actual);
    }
    return adamoe_ok();
}

static adamoe_status read_choice(const adamoe_layer_file *file, const char *key, const char *const *names,
                                 size_t count, size_t *out)
{
    *out = 0;
    const char *text = adamoe_safetensors_metadata(file->tensors, key);
    if (text == NULL) {
        return adamoe_ok();
    }
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return adamoe_ok();
        }
    }
    return metadata_error(file, key, text, "is not implemented");
}

static adamoe_status read_rule(adamoe_layer_file *file)
{
    const size_t choices = file->layer.experts + file->layer.null_experts;
    bool given;
    ADAMOE_TRY(read_count(file, "num_experts_per_tok", &file->rule.top_k, &given));
    if (given && (file->rule.top_k == 0 || file->rule.top_k > choices)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: __metadata__: num_experts_per_tok: %zu is not within 1 .. %zu",
                            adamoe_safetensors_path(file->tensors), file->rule.top_k, choices);
    }
    size_t norm, kind;
    ADAMOE_TRY(read_choice(file, "norm", adamoe_norm_names, ADAMOE_NORMS, &norm));
    ADAMOE_TRY(read_choice(file, "null_kind", adamoe_null_kind_names, ADAMOE_NULL_KINDS, &kind));
    file->rule.norm = (adamoe_norm)norm;
    file->rule.null_kind = (adamoe_null_kind)kind;
    return adamoe_ok();
}

static adamoe_status check_sizes(const adamoe_layer_file *file)
{
    ADAMOE_TRY(check_count(file, "num_local_experts", file->layer.experts));
    if (file->router != NULL) {
        ADAMOE_TRY(check_count(file, "experts", file->layer.experts));
    } else {
        ADAMOE_TRY(check_count(file, "num_null_experts", file->layer.null_experts));
    }
    ADAMOE_TRY(check_count(file, "hidden_size", file->layer.hidden_size));
    ADAMOE_TRY(check_count(file, "intermediate_size", file->layer.intermediate_size));
    return check_count(file, "tokens", file->tokens);
}

/* ------------------------------------------------------------------------------------------------ tensors */

/* With no size of 0, what is allocated for the experts is bounded by the size of the file. */
static adamoe_status read_sizes(adamoe_layer_file *file, const adamoe_tensor_reader *reader,
                                adamoe_tensor_naming naming)
{
    const char *path = adamoe_safetensors_path(file->tensors);
    const adamoe_tensor_name name = adamoe_name_in_layer("", naming, ADAMOE_WEIGHT_GATE, 0);
    adamoe_layer *layer = &file->layer;
    const adamoe_tensor *gate;
    ADAMOE_TRY(adamoe_tensor_reader_find(reader, name.text, &gate));
    if (gate->rank != 2 || gate->elements == 0) {
        return adamoe_tensor_error(path, name.text, "is no matrix, or an empty one");
    }
    layer->experts = gate->shape[0];
    layer->hidden_size = gate->shape[1];
    ADAMOE_TRY(adamoe_layer_intermediate_size(reader, "", naming, &layer->intermediate_size));
    if (layer->intermediate_size == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: experts: intermediate size 0", path);
    }
    return adamoe_ok();
}

static adamoe_status read_layer(adamoe_layer_file *file, adamoe_tensor_reader *reader)
{
    const adamoe_tensor_naming naming = adamoe_layer_naming(file->tensors, "");
    adamoe_layer *layer = &file->layer;
    ADAMOE_TRY(read_sizes(file, reader, naming));
    ADAMOE_TRY(adamoe_layer_read_router(reader, "", naming, layer));
    if (layer->experts + layer->null_experts > UINT32_MAX) {
        return adamoe_tensor_error(adamoe_safetensors_path(file->tensors),
                                   adamoe_name_in_layer("", naming, ADAMOE_WEIGHT_GATE2, 0).text,
                                   "more experts than 32-bit ids");
    }
    file->expert = calloc(layer->experts, sizeof *file->expert);
    if (file->expert == NULL) {
        return no_memory(adamoe_safetensors_path(file->tensors));
    }
    return adamoe_layer_read_experts(reader, "", naming, layer, file->expert);
}

/* One more than the largest number that a tensor of an expert bears; what is beyond the number of tensors leaves a
 * gap, and is found to be no part of the layer. */
static size_t count_experts(const adamoe_layer_file *file)
{
    size_t experts = 1;
    for (size_t i = 0; i < adamoe_safetensors_count(file->tensors); ++i) {
        const char *name = adamoe_safetensors_at(file->tensors, i)->name;
        size_t expert;
        if (sscanf(name, "block_sparse_moe.experts.%9zu.", &expert) == 1 && expert >= experts &&
            expert < adamoe_safetensors_count(file->tensors)) {
            experts = expert + 1;
        }
    }
    return experts;
}

/* A router brings its own gate, or none: the experts are those that are there, and the hidden size is that of the
 * hidden states. */
static adamoe_status read_experts_alone(adamoe_layer_file *file, adamoe_tensor_reader *reader)
{
    const adamoe_tensor *hidden_states;
    adamoe_layer *layer = &file->layer;
    ADAMOE_TRY(adamoe_tensor_reader_find(reader, "hidden_states", &hidden_states));
    if (hidden_states->rank != 2 || hidden_states->elements == 0) {
        return adamoe_tensor_error(adamoe_safetensors_path(file->tensors), "hidden_states",
                                   "is no matrix, or an empty one");
    }
    layer->hidden_size = hidden_states->shape[1];
    layer->gate = (adamoe_matrix){.dtype = ADAMOE_F32, .columns = layer->hidden_size};
    layer->gate2 = layer->gate;
    ADAMOE_TRY(adamoe_layer_intermediate_size(reader, "", ADAMOE_NAMED_SPARSE, &layer->intermediate_size));
    if (layer->intermediate_size == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: experts: intermediate size 0",
                            adamoe_safetensors_path(file->tensors));
    }
    layer->experts = count_experts(file);
    file->expert = calloc(layer->experts, sizeof *file->expert);
    if (file->expert == NULL) {
        return no_memory(adamoe_safetensors_path(file->tensors));
    }
    return adamoe_layer_read_experts(reader, "", ADAMOE_NAMED_SPARSE, layer, file->expert);
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool adamoe_layer_file_is_for_router(const char *name)
{
    return has_prefix(name, "block_sparse_moe.gate") || has_prefix(name, "mlp.") ||
           has_prefix(name, "router.");
}

/* What is named like a part of the layer and was not read would change its output: a bias, an expert beyond
 * n. What a router may read is left to whoever runs it. */
static adamoe_status check_unused(const adamoe_layer_file *file, const adamoe_tensor_reader *reader)
{
    for (size_t i = 0; i < adamoe_safetensors_count(file->tensors); ++i) {
        const char *name = adamoe_safetensors_at(file->tensors, i)->name;
        const bool is_part = has_prefix(name, "block_sparse_moe.") || has_prefix(name, "mlp.");
        const bool is_left = file->router != NULL && adamoe_layer_file_is_for_router(name);
        if (!reader->taken[i] && is_part && !is_left) {
            return adamoe_tensor_error(adamoe_safetensors_path(file->tensors), name, "not expected");
        }
    }
    return adamoe_ok();
}

static adamoe_status read_hidden_states(adamoe_layer_file *file)
{
    static const char name[] = "hidden_states";
    const char *path = adamoe_safetensors_path(file->tensors);
    const adamoe_tensor *tensor = adamoe_safetensors_find(file->tensors, name);
    if (tensor == NULL) {
        return adamoe_tensor_error(path, name, "missing");
    }
    if (tensor->rank != 2 || tensor->shape[0] == 0) {
        return adamoe_tensor_error(path, name, "is no matrix, or has no row");
    }
    adamoe_matrix matrix;
    file->tokens = tensor->shape[0];
    ADAMOE_TRY(
        adamoe_safetensors_matrix(file->tensors, name, file->tokens, file->layer.hidden_size, &matrix));
    file->hidden_states = calloc(tensor->elements, sizeof *file->hidden_states);
    if (file->hidden_states == NULL) {
        return no_memory(path);
    }
    for (size_t i = 0; i < tensor->elements; ++i) {
        file->hidden_states[i] = adamoe_element(matrix.data, matrix.dtype, i);
    }
    return adamoe_ok();
}

static adamoe_status read_file(adamoe_layer_file *file, const char *path)
{
    ADAMOE_TRY(adamoe_safetensors_open(path, &file->tensors));
    adamoe_tensor_reader reader;
    ADAMOE_TRY(adamoe_tensor_reader_create(file->tensors, &reader));
    file->router = adamoe_safetensors_metadata(file->tensors, "router");
    adamoe_status status =
        file->router != NULL ? read_experts_alone(file, &reader) : read_layer(file, &reader);
    if (status.code == ADAMOE_OK) {
        status = check_unused(file, &reader);
    }
    adamoe_tensor_reader_free(&reader);
    ADAMOE_TRY(status);
    ADAMOE_TRY(read_hidden_states(file));
    ADAMOE_TRY(check_sizes(file));
    return file->router != NULL ? adamoe_ok() : read_rule(file);
}

/* ------------------------------------------------------------------------------------------------- public */

adamoe_status adamoe_layer_file_open(const char *path, adamoe_layer_file **out)
{
    adamoe_layer_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return no_memory(path);
    }
    const adamoe_status status = read_file(file, path);
    if (status.code != ADAMOE_OK) {
        adamoe_layer_file_close(file);
        return status;
    }
    *out = file;
    return status;
}

void adamoe_layer_file_close(adamoe_layer_file *file)
{
    if (file == NULL) {
        return;
    }
    free(file->hidden_states);
    free(file->expert);
    adamoe_safetensors_close(file->tensors);
    free(file);
}

const adamoe_layer *adamoe_layer_file_layer(const adamoe_layer_file *file)
{
    return &file->layer;
}

adamoe_rule adamoe_layer_file_rule(const adamoe_layer_file *file)
{
    return file->rule;
}

const adamoe_safetensors *adamoe_layer_file_tensors(const adamoe_layer_file *file)
{
    return file->tensors;
}

const char *adamoe_layer_file_router(const adamoe_layer_file *file)
{
    return file->router;
}

const float *adamoe_layer_file_hidden_states(const adamoe_layer_file *file, size_t *tokens)
{
    *tokens = file->tokens;
    return file->hidden_states;
}

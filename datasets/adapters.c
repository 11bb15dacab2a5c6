/*
 * Folders of adapters.
 */
#include "adapters.h"
#include "files/json_file.h"
#include "numbers.h"
#include "files/output_file.h"
#include "router.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_NAME  "adapter_config.json"
#define TENSORS_NAME "adapters.safetensors"

struct adamoe_adapters {
    char *base;
    adamoe_lora_sizes sizes;
    adamoe_safetensors *tensors;
};

static char *path_in(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "adapters: out of memory");
}

bool adamoe_adapters_in(const char *folder)
{
    char *path = path_in(folder, CONFIG_NAME);
    const bool there = path != NULL && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* ------------------------------------------------------------------------------------------------ reading */

static adamoe_status read_size(const json_t *root, const char *path, const char *key, size_t *out)
{
    return adamoe_json_size(json_object_get(root, key), out)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: %s: not a whole number", path, key);
}

static adamoe_status read_norm(const json_t *root, const char *path, adamoe_norm *out)
{
    const char *name = json_string_value(json_object_get(root, "norm"));
    return adamoe_norm_named(name, out)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: norm: not one of %s", path, adamoe_norm_choices + 1);
}

/* The seven maps, each once, in any order. */
static adamoe_status check_modules(const json_t *root, const char *path)
{
    const json_t *list = json_object_get(root, "target_modules");
    bool complete = json_array_size(list) == ADAMOE_MAPS;
    for (size_t map = 0; map < ADAMOE_MAPS && complete; ++map) {
        const char *name = strrchr(adamoe_map_names[map], '.') + 1;
        complete = false;
        for (size_t i = 0; i < ADAMOE_MAPS && !complete; ++i) {
            const char *given = json_string_value(json_array_get(list, i));
            complete = given != NULL && strcmp(given, name) == 0;
        }
    }
    return complete
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT,
                              "%s: target_modules: not the seven maps of a layer, q_proj to down_proj", path);
}

static adamoe_status read_experts(const json_t *root, const char *path, adamoe_lora_sizes *s)
{
    s->routed = json_object_get(root, "num_lora_experts") != NULL;
    s->experts = s->rule.top_k = 1;
    if (!s->routed) {
        return adamoe_ok();
    }
    ADAMOE_TRY(read_size(root, path, "num_lora_experts", &s->experts));
    ADAMOE_TRY(read_size(root, path, "num_null_experts", &s->null_experts));
    ADAMOE_TRY(read_size(root, path, "num_experts_per_tok", &s->rule.top_k));
    return read_norm(root, path, &s->rule.norm);
}

static adamoe_status read_config(const json_t *root, const char *folder, const char *path,
                                 adamoe_adapters *out)
{
    const char *base = json_string_value(json_object_get(root, "base_model_name_or_path"));
    const json_t *format = json_object_get(root, "adamoe_format");
    if (!json_is_integer(format) || json_integer_value(format) != 1) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: adamoe_format: not 1: no adapters of adamoe train", path);
    }
    if (base == NULL || base[0] == '\0') {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: base_model_name_or_path: not a path", path);
    }
    ADAMOE_TRY(read_size(root, path, "r", &out->sizes.rank));
    const json_t *alpha = json_object_get(root, "lora_alpha");
    if (!json_is_number(alpha)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: lora_alpha: not a number", path);
    }
    out->sizes.alpha = json_number_value(alpha);
    ADAMOE_TRY(read_experts(root, path, &out->sizes));
    ADAMOE_TRY(check_modules(root, path));
    out->base = base[0] == '/' ? strdup(base) : path_in(folder, base);
    return out->base != NULL ? adamoe_ok() : out_of_memory();
}

static adamoe_status open_config(const char *folder, adamoe_adapters *out)
{
    json_t *root = NULL;
    char *path = path_in(folder, CONFIG_NAME);
    adamoe_status status = path == NULL ? out_of_memory() : adamoe_json_read(path, &root);
    if (status.code == ADAMOE_OK) {
        status = read_config(root, folder, path, out);
        json_decref(root);
    }
    free(path);
    return status;
}

static adamoe_status open_tensors(const char *folder, adamoe_adapters *out)
{
    char *path = path_in(folder, TENSORS_NAME);
    adamoe_status status = path == NULL ? out_of_memory() : adamoe_safetensors_open(path, &out->tensors);
    if (status.code == ADAMOE_OK) {
        status = adamoe_safetensors_check_finite(out->tensors);
    }
    free(path);
    return status;
}

adamoe_status adamoe_adapters_open(const char *folder, adamoe_adapters **out)
{
    adamoe_adapters *adapters = calloc(1, sizeof *adapters);
    if (adapters == NULL) {
        return out_of_memory();
    }
    adamoe_status status = open_config(folder, adapters);
    if (status.code == ADAMOE_OK) {
        status = open_tensors(folder, adapters);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_adapters_close(adapters);
        return status;
    }
    *out = adapters;
    return adamoe_ok();
}

void adamoe_adapters_close(adamoe_adapters *adapters)
{
    if (adapters != NULL) {
        if (adapters->tensors != NULL) {
            adamoe_safetensors_close(adapters->tensors);
        }
        free(adapters->base);
        free(adapters);
    }
}

const char *adamoe_adapters_base(const adamoe_adapters *adapters)
{
    return adapters->base;
}

adamoe_lora_sizes adamoe_adapters_sizes(const adamoe_adapters *adapters)
{
    return adapters->sizes;
}

size_t adamoe_adapters_count(const adamoe_adapters *adapters)
{
    return adamoe_safetensors_count(adapters->tensors);
}

adamoe_status adamoe_adapters_read(const adamoe_adapters *adapters, const char *name, size_t rows,
                                   size_t columns, float *out)
{
    adamoe_matrix matrix;
    ADAMOE_TRY(adamoe_safetensors_matrix(adapters->tensors, name, rows, columns, &matrix));
    for (size_t i = 0; i < rows * columns; ++i) {
        out[i] = adamoe_element(matrix.data, matrix.dtype, i);
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ writing */

/* NULL for want of memory, or where the base's path is not UTF-8. */
static json_t *describe(const char *base, const adamoe_lora_sizes *s)
{
    json_t *modules = json_array();
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        (void)json_array_append_new(modules, json_string(strrchr(adamoe_map_names[map], '.') + 1));
    }
    json_t *root =
        json_pack("{ss si ss sI sf so}", "peft_type", "LORA", "adamoe_format", 1, "base_model_name_or_path",
                  base, "r", (json_int_t)s->rank, "lora_alpha", s->alpha, "target_modules", modules);
    if (s->routed && root != NULL) {
        json_t *experts = json_pack("{sI sI sI ss}", "num_lora_experts", (json_int_t)s->experts,
                                    "num_null_experts", (json_int_t)s->null_experts, "num_experts_per_tok",
                                    (json_int_t)s->rule.top_k, "norm", adamoe_norm_names[s->rule.norm]);
        (void)json_object_update_new(root, experts);
    }
    return root;
}

static adamoe_status write_config(const char *folder, const char *base, const adamoe_lora_sizes *sizes)
{
    adamoe_output_file *file = NULL;
    json_t *root = describe(base, sizes);
    char *path = path_in(folder, CONFIG_NAME);
    adamoe_status status = root == NULL || path == NULL ? out_of_memory() : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status = adamoe_output_file_open(path, &file);
    }
    if (status.code == ADAMOE_OK) {
        FILE *stream = adamoe_output_file_stream(file);
        (void)json_dumpf(root, stream, JSON_INDENT(2));
        (void)fputc('\n', stream);
        status = adamoe_output_file_commit(file);
    }
    json_decref(root);
    free(path);
    return status;
}

adamoe_status adamoe_adapters_write(const char *folder, const char *base, const adamoe_lora_sizes *sizes,
                                    const adamoe_tensor *tensors, size_t count, const char *run)
{
    const adamoe_metadata metadata[] = {{"format", "pt"}, {"adamoe_training", run}};
    ADAMOE_TRY(write_config(folder, base, sizes));
    char *path = path_in(folder, TENSORS_NAME);
    const adamoe_status status =
        path == NULL ? out_of_memory() : adamoe_safetensors_write(path, tensors, count, metadata, 2);
    free(path);
    return status;
}

/*
 * Safetensors in memory: making and closing them, finding tensors and viewing them as matrices.
 * A file is opened in safetensors/open.c; the format is read in safetensors/header.c and safetensors/index.c.
 *
 * Left out: big-endian machines, since tensors are used where they stand in the file.
 */
#include "numbers.h"
#include "safetensors/internal.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are used where they stand in the file");

adamoe_status adamoe_tensor_error(const char *path, const char *name, const char *format, ...)
{
    char reason[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: tensor %.120s: %s", path, name, reason);
}

adamoe_status adamoe_safetensors_no_memory(const char *path)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: open: out of memory", path);
}

/* ------------------------------------------------------------------------------------- making and closing */

adamoe_safetensors *adamoe_safetensors_create(const char *path)
{
    adamoe_safetensors *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return NULL;
    }
    file->path = strdup(path);
    if (file->path == NULL) {
        free(file);
        return NULL;
    }
    return file;
}

void adamoe_safetensors_close(adamoe_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    for (size_t i = 0; i < file->shards; ++i) {
        adamoe_safetensors_close(file->shard[i]);
    }
    free(file->shard);
    free(file->by_name);
    free(file->tensor);
    json_decref(file->header);
    adamoe_mapped_file_close(&file->map);
    free(file->path);
    free(file);
}

adamoe_status adamoe_safetensors_allocate(adamoe_safetensors *file, size_t count)
{
    if (count == 0) {
        return adamoe_ok();
    }
    file->tensor = calloc(count, sizeof *file->tensor);
    file->by_name = calloc(count, sizeof *file->by_name);
    if (file->tensor == NULL || file->by_name == NULL) {
        return adamoe_safetensors_no_memory(file->path);
    }
    file->count = count;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ finding */

static int compare_names(const void *left, const void *right)
{
    const adamoe_tensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static int compare_key(const void *key, const void *member)
{
    const adamoe_tensor *const *tensor = member;
    return strcmp(key, (*tensor)->name);
}

void adamoe_safetensors_sort_names(adamoe_safetensors *file)
{
    for (size_t i = 0; i < file->count; ++i) {
        file->by_name[i] = &file->tensor[i];
    }
    if (file->count > 0) {
        qsort(file->by_name, file->count, sizeof *file->by_name, compare_names);
    }
}

const adamoe_tensor *adamoe_safetensors_find(const adamoe_safetensors *file, const char *name)
{
    if (file->count == 0) {
        return NULL;
    }
    const adamoe_tensor **found =
        bsearch(name, file->by_name, file->count, sizeof *file->by_name, compare_key);
    return found == NULL ? NULL : *found;
}

const char *adamoe_safetensors_path(const adamoe_safetensors *file)
{
    return file->path;
}

size_t adamoe_safetensors_count(const adamoe_safetensors *file)
{
    return file->count;
}

const adamoe_tensor *adamoe_safetensors_at(const adamoe_safetensors *file, size_t index)
{
    return &file->tensor[index];
}

const char *adamoe_safetensors_metadata(const adamoe_safetensors *file, const char *key)
{
    const char *value =
        json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
    for (size_t i = 0; value == NULL && i < file->shards; ++i) {
        value = adamoe_safetensors_metadata(file->shard[i], key);
    }
    return value;
}

const char *adamoe_safetensors_unknown_key(const adamoe_safetensors *file,
                                           bool (*known)(const void *context, const char *key),
                                           const void *context)
{
    const char *key, *unknown = NULL;
    json_t *value;
    json_object_foreach(json_object_get(file->header, "__metadata__"), key, value)
    {
        if (!known(context, key)) {
            return key;
        }
    }
    for (size_t i = 0; unknown == NULL && i < file->shards; ++i) {
        unknown = adamoe_safetensors_unknown_key(file->shard[i], known, context);
    }
    return unknown;
}

/* ----------------------------------------------------------------------------------------------- matrices */

/* "[2, 3]"; the longest shape, eight numbers of twenty digits, fits. */
typedef struct shape_text {
    char text[ADAMOE_TENSOR_MAX_RANK * 22 + 3];
} shape_text;

static shape_text write_shape(const adamoe_tensor *tensor)
{
    shape_text out = {"["};
    size_t length = 1;
    for (size_t i = 0; i < tensor->rank; ++i) {
        length += (size_t)snprintf(out.text + length, sizeof out.text - length, i == 0 ? "%zu" : ", %zu",
                                   tensor->shape[i]);
    }
    (void)snprintf(out.text + length, sizeof out.text - length, "]");
    return out;
}

adamoe_status adamoe_safetensors_matrix(const adamoe_safetensors *file, const char *name, size_t rows,
                                        size_t columns, adamoe_matrix *out)
{
    const adamoe_tensor *tensor = adamoe_safetensors_find(file, name);
    if (tensor == NULL) {
        return adamoe_tensor_error(file->path, name, "missing");
    }
    const bool vector = tensor->rank == 1 && rows == 1 && tensor->shape[0] == columns;
    const bool matrix = tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns;
    if (!vector && !matrix) {
        return adamoe_tensor_error(file->path, name, "shape %s where [%zu, %zu] is expected",
                                   write_shape(tensor).text, rows, columns);
    }
    if (tensor->dtype == ADAMOE_I64) {
        return adamoe_tensor_error(file->path, name, "dtype I64 where a floating-point one is expected");
    }
    *out = (adamoe_matrix){.data = tensor->data, .dtype = tensor->dtype, .rows = rows, .columns = columns};
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------- NaN and infinity */

/* A number is finite unless all bits of its exponent are set. */
static bool is_finite(const adamoe_tensor *tensor, size_t index)
{
    const uint8_t *at = (const uint8_t *)tensor->data + index * adamoe_dtype_bytes(tensor->dtype);
    uint32_t single;
    uint16_t half;
    if (tensor->dtype == ADAMOE_F32) {
        memcpy(&single, at, sizeof single);
        return (single & 0x7f800000u) != 0x7f800000u;
    }
    memcpy(&half, at, sizeof half);
    const uint16_t exponent = tensor->dtype == ADAMOE_F16 ? 0x7c00u : 0x7f80u;
    return (half & exponent) != exponent;
}

adamoe_status adamoe_safetensors_check_finite(const adamoe_safetensors *file)
{
    for (size_t i = 0; i < file->count; ++i) {
        const adamoe_tensor *tensor = &file->tensor[i];
        if (tensor->dtype == ADAMOE_I64) {
            continue;
        }
        for (size_t element = 0; element < tensor->elements; ++element) {
            if (!is_finite(tensor, element)) {
                const float value = adamoe_element(tensor->data, tensor->dtype, element);
                return adamoe_tensor_error(file->path, tensor->name, "element %zu is %s", element,
                                           value != value ? "NaN" : "infinite");
            }
        }
    }
    return adamoe_ok();
}

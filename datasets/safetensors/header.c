/*
 * The header of one safetensors file: eight bytes of length, then JSON that maps each tensor's name to its
 * dtype, shape and place in the data section, which is the rest of the file.
 *
 * Everything that a reader could be led astray by is refused: fields that are unknown or absent, sizes that
 * overflow, and data that overlaps, leaves a gap, or does not end where the file ends. Left out: dtypes that
 * no part of this project computes with.
 */
#include "files/foreign.h"
#include "files/json_file.h"
#include "numbers.h"
#include "safetensors/internal.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8

static const char metadata_key[] = "__metadata__";

/* The data section, and the file that it belongs to. */
typedef struct section {
    const char *path;
    const uint8_t *data;
    size_t size;
} section;

static adamoe_status header_error(const char *path, const char *reason)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: header: %s", path, reason);
}

static adamoe_status stated_length(const char *path, const uint8_t *data, size_t size, size_t *length)
{
    if (size < LENGTH_BYTES) {
        return header_error(path, "the file is shorter than the 8 bytes of the header's length");
    }
    uint64_t value = 0;
    for (size_t i = 0; i < LENGTH_BYTES; ++i) {
        value |= (uint64_t)data[i] << (8 * i);
    }
    if (value == 0) {
        return header_error(path, "length 0");
    }
    if (value > ADAMOE_HEADER_MAX_BYTES) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: header: length %ju is above the limit of %u", path,
                            (uintmax_t)value, ADAMOE_HEADER_MAX_BYTES);
    }
    if (value > size - LENGTH_BYTES) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: header: length %ju, but the file has only %zu bytes more",
                            path, (uintmax_t)value, size - LENGTH_BYTES);
    }
    *length = (size_t)value;
    return adamoe_ok();
}

/* Any bytes may be a length: a file of another kind is looked for only where this one makes no sense. */
static adamoe_status read_length(const char *path, const uint8_t *data, size_t size, size_t *length)
{
    const adamoe_status status = stated_length(path, data, size, length);
    const char *foreign = status.code == ADAMOE_OK ? NULL : adamoe_foreign_file(data, size);
    return foreign == NULL ? status : header_error(path, foreign);
}

static adamoe_status read_json(const char *path, const char *text, size_t length, json_t **out)
{
    char place[sizeof(adamoe_status)]; /* the parser counts lines and columns within the header */
    if (text[0] != '{') {
        return header_error(path, "does not begin with {");
    }
    if (text[length - 1] == '\0') {
        return header_error(path, "padded with zero bytes, where the format has blanks");
    }
    (void)snprintf(place, sizeof place, "%s: header", path);
    return adamoe_json_parse(place, text, length, out);
}

static adamoe_status check_metadata(const char *path, json_t *metadata)
{
    if (metadata != NULL && !json_is_object(metadata)) {
        return header_error(path, "__metadata__ is no object");
    }
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value)) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %.120s is no string", path, key);
        }
    }
    return adamoe_ok();
}

static adamoe_status read_dtype(const char *path, const json_t *value, adamoe_tensor *tensor)
{
    static const adamoe_dtype dtypes[] = {ADAMOE_F32, ADAMOE_F16, ADAMOE_BF16, ADAMOE_I64};
    const char *name = json_string_value(value);
    if (name == NULL) {
        return adamoe_tensor_error(path, tensor->name, "dtype is absent or no string");
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; ++i) {
        if (strcmp(name, adamoe_dtype_name(dtypes[i])) == 0) {
            tensor->dtype = dtypes[i];
            return adamoe_ok();
        }
    }
    return adamoe_tensor_error(path, tensor->name, "dtype %.20s is not among F32, F16, BF16, I64", name);
}

bool adamoe_tensor_measure(adamoe_dtype dtype, size_t rank, const size_t *shape, size_t *elements)
{
    size_t bytes = adamoe_dtype_bytes(dtype);
    *elements = 1;
    for (size_t i = 0; i < rank; ++i) {
        if (__builtin_mul_overflow(bytes, shape[i] == 0 ? 1 : shape[i], &bytes)) {
            return false;
        }
        *elements *= shape[i];
    }
    return true;
}

static adamoe_status read_shape(const char *path, const json_t *value, adamoe_tensor *tensor)
{
    if (!json_is_array(value)) {
        return adamoe_tensor_error(path, tensor->name, "shape is absent or no array");
    }
    tensor->rank = json_array_size(value);
    if (tensor->rank > ADAMOE_TENSOR_MAX_RANK) {
        return adamoe_tensor_error(path, tensor->name, "rank %zu is above %d", tensor->rank,
                                   ADAMOE_TENSOR_MAX_RANK);
    }
    for (size_t i = 0; i < tensor->rank; ++i) {
        if (!adamoe_json_size(json_array_get(value, i), &tensor->shape[i])) {
            return adamoe_tensor_error(path, tensor->name, "shape[%zu] is no count", i);
        }
    }
    if (!adamoe_tensor_measure(tensor->dtype, tensor->rank, tensor->shape, &tensor->elements)) {
        return adamoe_tensor_error(path, tensor->name, "the product of its shape overflows");
    }
    return adamoe_ok();
}

static adamoe_status read_offsets(const section *data, const json_t *value, adamoe_tensor *tensor)
{
    size_t begin, end;
    if (json_array_size(value) != 2 || !adamoe_json_size(json_array_get(value, 0), &begin) ||
        !adamoe_json_size(json_array_get(value, 1), &end)) {
        return adamoe_tensor_error(data->path, tensor->name, "data_offsets are no pair of counts");
    }
    if (begin > end) {
        return adamoe_tensor_error(data->path, tensor->name, "data_offsets [%zu, %zu] run backwards", begin,
                                   end);
    }
    if (end > data->size) {
        return adamoe_tensor_error(data->path, tensor->name,
                                   "data_offsets [%zu, %zu] leave the %zu bytes of data", begin, end,
                                   data->size);
    }
    const size_t bytes = tensor->elements * adamoe_dtype_bytes(tensor->dtype);
    if (end - begin != bytes) {
        return adamoe_tensor_error(data->path, tensor->name, "%zu bytes of data where its shape takes %zu",
                                   end - begin, bytes);
    }
    tensor->data = data->data + begin;
    return adamoe_ok();
}

static adamoe_status read_tensor(const section *data, const json_t *entry, adamoe_tensor *tensor)
{
    if (!json_is_object(entry)) {
        return adamoe_tensor_error(data->path, tensor->name, "is described by no object");
    }
    ADAMOE_TRY(read_dtype(data->path, json_object_get(entry, "dtype"), tensor));
    ADAMOE_TRY(read_shape(data->path, json_object_get(entry, "shape"), tensor));
    ADAMOE_TRY(read_offsets(data, json_object_get(entry, "data_offsets"), tensor));
    if (json_object_size(entry) != 3) {
        return adamoe_tensor_error(data->path, tensor->name,
                                   "has a field besides dtype, shape and data_offsets");
    }
    return adamoe_ok();
}

/* By begin, then by end: an empty tensor stands before the one whose data begins at its place. */
static int compare_places(const void *left, const void *right)
{
    const adamoe_tensor *a = left, *b = right;
    if (a->data != b->data) {
        return (const uint8_t *)a->data < (const uint8_t *)b->data ? -1 : 1;
    }
    if ((a->elements == 0) != (b->elements == 0)) {
        return a->elements == 0 ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

static adamoe_status check_cover(const section *data, const adamoe_tensor *tensor, size_t count)
{
    size_t covered = 0;
    for (size_t i = 0; i < count; ++i) {
        const size_t begin = (size_t)((const uint8_t *)tensor[i].data - data->data);
        if (begin < covered) {
            return adamoe_tensor_error(data->path, tensor[i].name,
                                       "its data begins at %zu and overlaps that of %.120s", begin,
                                       tensor[i - 1].name);
        }
        if (begin > covered) {
            return adamoe_tensor_error(data->path, tensor[i].name,
                                       "its data begins at %zu and leaves a gap from %zu", begin, covered);
        }
        covered += tensor[i].elements * adamoe_dtype_bytes(tensor[i].dtype);
    }
    if (covered != data->size) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: data: the tensors end at %zu, the file's data at %zu",
                            data->path, covered, data->size);
    }
    return adamoe_ok();
}

static adamoe_status read_tensors(adamoe_safetensors *file, const section *data)
{
    const bool has_metadata = json_object_get(file->header, metadata_key) != NULL;
    const size_t count = json_object_size(file->header) - (has_metadata ? 1 : 0);
    ADAMOE_TRY(adamoe_safetensors_allocate(file, count));
    adamoe_tensor *tensor = file->tensor;
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, metadata_key) == 0) {
            continue;
        }
        tensor->name = name;
        ADAMOE_TRY(read_tensor(data, entry, tensor));
        ++tensor;
    }
    if (count > 0) {
        qsort(file->tensor, count, sizeof *file->tensor, compare_places);
    }
    return check_cover(data, file->tensor, count);
}

adamoe_status adamoe_safetensors_read_header(adamoe_safetensors *file, const uint8_t *data, size_t size)
{
    size_t length = 0;
    ADAMOE_TRY(read_length(file->path, data, size, &length));
    ADAMOE_TRY(read_json(file->path, (const char *)data + LENGTH_BYTES, length, &file->header));
    ADAMOE_TRY(check_metadata(file->path, json_object_get(file->header, metadata_key)));
    const section rest = {
        .path = file->path, .data = data + LENGTH_BYTES + length, .size = size - LENGTH_BYTES - length};
    ADAMOE_TRY(read_tensors(file, &rest));
    adamoe_safetensors_sort_names(file);
    return adamoe_ok();
}

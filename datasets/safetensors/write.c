/*
 * Writing a safetensors file: the header is built as JSON, padded with blanks so that the data begins at a
 * multiple of 8, and everything goes through output_file.h.
 */
#include "numbers.h"
#include "files/output_file.h"
#include "safetensors/internal.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status no_memory(const char *path)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: write: out of memory", path);
}

/* Finds where the data that begins at `begin` ends; false where the fields contradict each other. */
static bool measure(const adamoe_tensor *tensor, size_t begin, size_t *end)
{
    size_t elements;
    return tensor->rank <= ADAMOE_TENSOR_MAX_RANK &&
           adamoe_tensor_measure(tensor->dtype, tensor->rank, tensor->shape, &elements) &&
           elements == tensor->elements &&
           !__builtin_add_overflow(begin, elements * adamoe_dtype_bytes(tensor->dtype), end) &&
           *end <= INT64_MAX;
}

static json_t *describe(const adamoe_tensor *tensor, size_t begin, size_t end)
{
    json_t *shape = json_array();
    for (size_t i = 0; i < tensor->rank; ++i) {
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", adamoe_dtype_name(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* jansson refuses text that is not UTF-8, and would replace a value of the same key. */
static adamoe_status add_metadata(const char *path, json_t *header, const adamoe_metadata *metadata,
                                  size_t count)
{
    if (count == 0) {
        return adamoe_ok();
    }
    json_t *object = json_object();
    if (json_object_set_new(header, "__metadata__", object) != 0) {
        return no_memory(path);
    }
    for (size_t i = 0; i < count; ++i) {
        if (json_object_get(object, metadata[i].key) != NULL) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %.120s is given twice", path,
                                metadata[i].key);
        }
        if (json_object_set_new(object, metadata[i].key, json_string(metadata[i].value)) != 0) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %.120s is no UTF-8", path,
                                metadata[i].key);
        }
    }
    return adamoe_ok();
}

static adamoe_status add_tensor(const char *path, json_t *header, const adamoe_tensor *tensor, size_t begin,
                                size_t *end)
{
    if (strcmp(tensor->name, "__metadata__") == 0) {
        return adamoe_tensor_error(path, tensor->name, "the name is reserved");
    }
    if (json_object_get(header, tensor->name) != NULL) {
        return adamoe_tensor_error(path, tensor->name, "is given twice");
    }
    if (!measure(tensor, begin, end)) {
        return adamoe_tensor_error(path, tensor->name, "its shape overflows or contradicts its count");
    }
    json_t *entry = describe(tensor, begin, *end);
    if (entry == NULL) {
        return no_memory(path);
    }
    if (json_object_set_new(header, tensor->name, entry) != 0) {
        return adamoe_tensor_error(path, tensor->name, "the name is no UTF-8");
    }
    return adamoe_ok();
}

static adamoe_status add_tensors(const char *path, json_t *header, const adamoe_tensor *tensors, size_t count)
{
    size_t end = 0;
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(add_tensor(path, header, &tensors[i], end, &end));
    }
    return adamoe_ok();
}

static adamoe_status build_header(const char *path, const adamoe_tensor *tensors, size_t count,
                                  const adamoe_metadata *metadata, size_t metadata_count, char **out)
{
    json_t *header = json_object();
    if (header == NULL) {
        return no_memory(path);
    }
    adamoe_status status = add_metadata(path, header, metadata, metadata_count);
    if (status.code == ADAMOE_OK) {
        status = add_tensors(path, header, tensors, count);
    }
    if (status.code == ADAMOE_OK) {
        *out = json_dumps(header, JSON_COMPACT);
        status = *out == NULL ? no_memory(path) : status;
    }
    json_decref(header);
    return status;
}

/* Errors of writing stay in the stream until the file is committed. */
static void write_stream(FILE *stream, const char *header, size_t length, const adamoe_tensor *tensors,
                         size_t count)
{
    const size_t padding = (8 - length % 8) % 8;
    uint8_t prefix[8];
    for (size_t i = 0; i < sizeof prefix; ++i) {
        prefix[i] = (uint8_t)((uint64_t)(length + padding) >> (8 * i));
    }
    fwrite(prefix, 1, sizeof prefix, stream);
    fwrite(header, 1, length, stream);
    fwrite("        ", 1, padding, stream);
    for (size_t i = 0; i < count; ++i) {
        if (tensors[i].elements > 0) {
            fwrite(tensors[i].data, adamoe_dtype_bytes(tensors[i].dtype), tensors[i].elements, stream);
        }
    }
}

static adamoe_status write_file(const char *path, const char *header, const adamoe_tensor *tensors,
                                size_t count)
{
    const size_t length = strlen(header);
    if (length > ADAMOE_HEADER_MAX_BYTES - 8) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: header: length %zu is above the limit of %u", path, length,
                            ADAMOE_HEADER_MAX_BYTES);
    }
    adamoe_output_file *file = NULL;
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    write_stream(adamoe_output_file_stream(file), header, length, tensors, count);
    return adamoe_output_file_commit(file);
}

adamoe_status adamoe_safetensors_write(const char *path, const adamoe_tensor *tensors, size_t count,
                                       const adamoe_metadata *metadata, size_t metadata_count)
{
    char *header = NULL;
    ADAMOE_TRY(build_header(path, tensors, count, metadata, metadata_count, &header));
    const adamoe_status status = write_file(path, header, tensors, count);
    free(header);
    return status;
}

/*
 * Opening safetensors: one file, an index with its shards, or bytes in memory.
 */
#include "safetensors/internal.h"

#include <string.h>

static bool is_index(const char *path)
{
    static const char suffix[] = ".index.json";
    const size_t length = strlen(path), tail = sizeof suffix - 1;
    return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

static adamoe_status read_file(adamoe_safetensors *file)
{
    if (is_index(file->path)) {
        return adamoe_safetensors_read_index(file);
    }
    ADAMOE_TRY(adamoe_mapped_file_open(file->path, &file->map));
    return adamoe_safetensors_read_header(file, file->map.data, file->map.size);
}

adamoe_status adamoe_safetensors_open(const char *path, adamoe_safetensors **out)
{
    adamoe_safetensors *file = adamoe_safetensors_create(path);
    if (file == NULL) {
        return adamoe_safetensors_no_memory(path);
    }
    const adamoe_status status = read_file(file);
    if (status.code != ADAMOE_OK) {
        adamoe_safetensors_close(file);
        return status;
    }
    *out = file;
    return status;
}

adamoe_status adamoe_safetensors_parse(const char *path, const uint8_t *data, size_t size,
                                       adamoe_safetensors **out)
{
    adamoe_safetensors *file = adamoe_safetensors_create(path);
    if (file == NULL) {
        return adamoe_safetensors_no_memory(path);
    }
    const adamoe_status status = adamoe_safetensors_read_header(file, data, size);
    if (status.code != ADAMOE_OK) {
        adamoe_safetensors_close(file);
        return status;
    }
    *out = file;
    return status;
}

/*
 * A model in several safetensors files: model.safetensors.index.json maps each tensor's name to the shard, a
 * file beside the index, that holds it. The index and the shards must agree exactly: a tensor that the index
 * does not know, or places in another shard, is as much an error as one that is missing.
 *
 * Left out: metadata.total_size, which the files themselves tell.
 */
#include "files/json_file.h"
#include "safetensors/internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct placement {
    const char *name, *shard;
} placement;

/* A shard's tensors stand together, so that each shard is opened once. */
static int compare_placements(const void *left, const void *right)
{
    const placement *a = left, *b = right;
    const int order = strcmp(a->shard, b->shard);
    return order != 0 ? order : strcmp(a->name, b->name);
}

/* A name with a separator could lead out of the folder; whoever sends a model must not
 * choose what is read. */
static bool is_plain_name(const char *shard)
{
    return shard[0] != '\0' && strchr(shard, '/') == NULL && strcmp(shard, ".") != 0 &&
           strcmp(shard, "..") != 0;
}

static adamoe_status read_placements(const char *path, const json_t *index, placement **out, size_t *count)
{
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: weight_map: absent or no object", path);
    }
    placement *place = calloc(json_object_size(map) + 1, sizeof *place);
    if (place == NULL) {
        return adamoe_safetensors_no_memory(path);
    }
    *out = place;
    *count = json_object_size(map);
    const char *name;
    json_t *shard;
    json_object_foreach(map, name, shard)
    {
        if (!json_is_string(shard)) {
            return adamoe_tensor_error(path, name, "its shard is no string");
        }
        if (!is_plain_name(json_string_value(shard))) {
            return adamoe_tensor_error(path, name, "its shard %.120s is no file beside the index",
                                       json_string_value(shard));
        }
        *place++ = (placement){name, json_string_value(shard)};
    }
    qsort(*out, *count, sizeof **out, compare_placements);
    return adamoe_ok();
}

static adamoe_status open_shard(adamoe_safetensors *file, const char *name)
{
    const char *slash = strrchr(file->path, '/');
    const int folder = slash == NULL ? 0 : (int)(slash - file->path) + 1;
    char *path = NULL;
    if (asprintf(&path, "%.*s%s", folder, file->path, name) < 0) {
        return adamoe_safetensors_no_memory(file->path);
    }
    adamoe_safetensors *shard = adamoe_safetensors_create(path);
    adamoe_status status = shard == NULL ? adamoe_safetensors_no_memory(path) : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        file->shard[file->shards++] = shard;
        status = adamoe_mapped_file_open(path, &shard->map);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_safetensors_read_header(shard, shard->map.data, shard->map.size);
    }
    free(path);
    return status;
}

/* The tensors of a shard and the names that the index places there are the same set. */
static adamoe_status check_shard(const char *path, const adamoe_safetensors *shard, const placement *place,
                                 size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (adamoe_safetensors_find(shard, place[i].name) == NULL) {
            return adamoe_tensor_error(path, place[i].name, "not in %.120s, where the index places it",
                                       place[i].shard);
        }
    }
    for (size_t i = 0; i < shard->count; ++i) {
        const char *name = shard->by_name[i]->name;
        if (i >= count || strcmp(name, place[i].name) != 0) {
            return adamoe_tensor_error(shard->path, name, "the index does not place it in this shard");
        }
    }
    return adamoe_ok();
}

static adamoe_status open_shards(adamoe_safetensors *file, const placement *place, size_t count)
{
    size_t next;
    for (size_t first = 0; first < count; first = next) {
        next = first + 1;
        while (next < count && strcmp(place[next].shard, place[first].shard) == 0) {
            ++next;
        }
        ADAMOE_TRY(open_shard(file, place[first].shard));
        ADAMOE_TRY(check_shard(file->path, file->shard[file->shards - 1], &place[first], next - first));
    }
    return adamoe_ok();
}

static size_t count_shards(const placement *place, size_t count)
{
    size_t shards = 0;
    for (size_t i = 0; i < count; ++i) {
        shards += i == 0 || strcmp(place[i].shard, place[i - 1].shard) != 0;
    }
    return shards;
}

static adamoe_status gather_tensors(adamoe_safetensors *file, size_t count)
{
    ADAMOE_TRY(adamoe_safetensors_allocate(file, count));
    adamoe_tensor *next = file->tensor;
    for (size_t i = 0; i < file->shards; ++i) {
        const adamoe_safetensors *shard = file->shard[i];
        memcpy(next, shard->tensor, shard->count * sizeof *next);
        next += shard->count;
    }
    adamoe_safetensors_sort_names(file);
    return adamoe_ok();
}

static adamoe_status open_placements(adamoe_safetensors *file, const placement *place, size_t count)
{
    if (count == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: weight_map: empty", file->path);
    }
    file->shard = calloc(count_shards(place, count), sizeof(adamoe_safetensors *));
    if (file->shard == NULL) {
        return adamoe_safetensors_no_memory(file->path);
    }
    ADAMOE_TRY(open_shards(file, place, count));
    return gather_tensors(file, count);
}

adamoe_status adamoe_safetensors_read_index(adamoe_safetensors *file)
{
    json_t *index = NULL;
    ADAMOE_TRY(adamoe_json_read(file->path, &index));
    placement *place = NULL;
    size_t count = 0;
    adamoe_status status = read_placements(file->path, index, &place, &count);
    if (status.code == ADAMOE_OK) {
        status = open_placements(file, place, count);
    }
    free(place);
    json_decref(index);
    return status;
}

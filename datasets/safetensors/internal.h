/*
 * What the parts of the safetensors reader share: safetensors.c (the object, finding), open.c (what to read),
 * header.c (one file) and index.c (several files).
 */
#ifndef ADAMOE_SAFETENSORS_INTERNAL_H
#define ADAMOE_SAFETENSORS_INTERNAL_H

#include "files/mapped_file.h"
#include "safetensors/safetensors.h"
#include <jansson.h>

/* The limit of the format's own library; a longer header is an attack or an accident. */
#define ADAMOE_HEADER_MAX_BYTES 100000000u

struct adamoe_safetensors {
    char *path;
    adamoe_mapped_file map;     /* of one file; empty for an index and for bytes in memory */
    json_t *header;             /* of one file; it owns the names and the metadata */
    adamoe_safetensors **shard; /* [shards] of an index, NULL for one file */
    size_t shards;
    adamoe_tensor *tensor;         /* [count] in the order of their data, shard by shard */
    const adamoe_tensor **by_name; /* [count] sorted, so that thousands of look-ups stay cheap */
    size_t count;
};

/* ENVIRONMENT, out of memory. */
adamoe_status adamoe_safetensors_no_memory(const char *path);

/* The product of a shape. False where its bytes overflow, each 0 taken as 1: then whoever multiplies a part
 * of the shape later, in whatever order, cannot overflow either. */
bool adamoe_tensor_measure(adamoe_dtype dtype, size_t rank, const size_t *shape, size_t *elements);

/* An empty object for adamoe_safetensors_close to free; NULL where there is no memory. */
adamoe_safetensors *adamoe_safetensors_create(const char *path);

/* Makes room for `count` tensors. */
adamoe_status adamoe_safetensors_allocate(adamoe_safetensors *file, size_t count);

/* Fills by_name; the tensors do not move afterwards. */
void adamoe_safetensors_sort_names(adamoe_safetensors *file);

/* Reads the header of a file of data[size], which `file` refers to from then on. */
adamoe_status adamoe_safetensors_read_header(adamoe_safetensors *file, const uint8_t *data, size_t size);

/* Reads the index at file->path, and opens its shards. */
adamoe_status adamoe_safetensors_read_index(adamoe_safetensors *file);

#endif

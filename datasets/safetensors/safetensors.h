/*
 * Safetensors: reading one file, or an index with shards, mapped into memory; and writing one file.
 */
#ifndef ADAMOE_SAFETENSORS_SAFETENSORS_H
#define ADAMOE_SAFETENSORS_SAFETENSORS_H

#include "adamoe.h"

#define ADAMOE_TENSOR_MAX_RANK 8

/* A tensor in a file, or one to be written. Data is little-endian and may be unaligned. */
typedef struct adamoe_tensor {
    const char *name;
    adamoe_dtype dtype;
    size_t rank;
    size_t shape[ADAMOE_TENSOR_MAX_RANK];
    size_t elements; /* product of the shape; 1 for rank 0; 0 is legal */
    const void *data;
} adamoe_tensor;

typedef struct adamoe_safetensors adamoe_safetensors;

/* Opens FILE.safetensors, or FILE.safetensors.index.json with the shards that it names (which stand beside
 * it). The whole header is checked before anything is returned: its length against the file, JSON without
 * duplicate names, dtypes among F32, F16, BF16 and I64, shapes whose product does not overflow, offsets in
 * range, without overlap and without gap, sizes that agree with dtype and shape; for an index, every name in
 * the shard that it points to and no name twice. Errors: BAD_INPUT, "FILE: place: reason". */
adamoe_status adamoe_safetensors_open(const char *path, adamoe_safetensors **out);
void adamoe_safetensors_close(adamoe_safetensors *file);

/* The same checks on bytes in memory (for tests and fuzzing); `path` is used in messages. `data` must outlive
 * the result. */
adamoe_status adamoe_safetensors_parse(const char *path, const uint8_t *data, size_t size,
                                       adamoe_safetensors **out);

const char *adamoe_safetensors_path(const adamoe_safetensors *file);
size_t adamoe_safetensors_count(const adamoe_safetensors *file);

/* Element `index` of an array of all tensors in the order of their data, shard by shard. */
const adamoe_tensor *adamoe_safetensors_at(const adamoe_safetensors *file, size_t index);

/* NULL where there is none of that name. */
const adamoe_tensor *adamoe_safetensors_find(const adamoe_safetensors *file, const char *name);

/* A value of __metadata__, or NULL; with shards, of the first one that has it. */
const char *adamoe_safetensors_metadata(const adamoe_safetensors *file, const char *key);

/* The first key of __metadata__ that `known` does not know, or NULL; with shards, of the first one that has one. */
const char *adamoe_safetensors_unknown_key(const adamoe_safetensors *file,
                                           bool (*known)(const void *context, const char *key),
                                           const void *context);

/* The tensor `name` as a matrix [rows, columns]. Rank 1 counts as [1, columns]. Errors: missing; another rank
 * or shape; I64. */
adamoe_status adamoe_safetensors_matrix(const adamoe_safetensors *file, const char *name, size_t rows,
                                        size_t columns, adamoe_matrix *out);

/* An error (BAD_INPUT) that names the first NaN or infinity in a floating-point tensor of the file. */
adamoe_status adamoe_safetensors_check_finite(const adamoe_safetensors *file);

/* BAD_INPUT, "FILE: tensor NAME: reason". Long names are cut, so that the reason remains. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
adamoe_status
adamoe_tensor_error(const char *path, const char *name, const char *format, ...);

typedef struct adamoe_metadata {
    const char *key, *value;
} adamoe_metadata;

/* Writes a whole file atomically (output_file.h): header padded with blanks to 8 bytes, tensors in the given
 * order without gaps. Errors: duplicate names (BAD_INPUT), disk (ENVIRONMENT). */
adamoe_status adamoe_safetensors_write(const char *path, const adamoe_tensor *tensors, size_t count,
                                       const adamoe_metadata *metadata, size_t metadata_count);

#endif

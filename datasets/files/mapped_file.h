/*
 * A whole file mapped read-only into memory.
 */
#ifndef ADAMOE_FILES_MAPPED_FILE_H
#define ADAMOE_FILES_MAPPED_FILE_H

#include "adamoe.h"

typedef struct adamoe_mapped_file {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
} adamoe_mapped_file;

/* Errors name the path: BAD_INPUT where there is no such regular file, ENVIRONMENT where
 * it cannot be read. */
adamoe_status adamoe_mapped_file_open(const char *path, adamoe_mapped_file *out);
void adamoe_mapped_file_close(adamoe_mapped_file *file);

#endif

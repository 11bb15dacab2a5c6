/*
 * Writing a file so that it is there whole or not at all: a temporary file beside it, fsync, rename.
 */
#ifndef ADAMOE_FILES_OUTPUT_FILE_H
#define ADAMOE_FILES_OUTPUT_FILE_H

#include "adamoe.h"
#include <stdio.h>

typedef struct adamoe_output_file adamoe_output_file;

/* Opens a temporary file in the folder of `path`. Errors (ENVIRONMENT) name the path: among them a file that
 * is read-only, and a symbolic link to nothing. */
adamoe_status adamoe_output_file_open(const char *path, adamoe_output_file **out);

/* The stream to write to; errors of writing are kept by the stream and reported by commit. */
FILE *adamoe_output_file_stream(adamoe_output_file *file);

/* Flushes, syncs and renames; on any error the temporary file is removed and what stood at `path` before is
 * untouched. Frees the file in both cases. */
adamoe_status adamoe_output_file_commit(adamoe_output_file *file);

/* Removes the temporary file and frees. NULL is allowed. */
void adamoe_output_file_discard(adamoe_output_file *file);

#endif

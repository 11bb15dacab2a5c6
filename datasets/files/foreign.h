/*
 * Files that are something else than what their reader expects, and can be told by how they begin.
 */
#ifndef ADAMOE_FILES_FOREIGN_H
#define ADAMOE_FILES_FOREIGN_H

#include <stddef.h>

/* What data[size] is, and what to do about it, for a message; NULL where nothing is known. Known are a Git LFS
 * pointer, compressed files, archives, parquet, UTF-16, a page of HTML, and PyTorch's own files. */
const char *adamoe_foreign_file(const void *data, size_t size);

#endif

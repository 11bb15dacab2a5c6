/*
 * A number that tells files of one content from those of another.
 */
#ifndef ADAMOE_RANKS_FINGERPRINT_H
#define ADAMOE_RANKS_FINGERPRINT_H

#include "adamoe.h"

/* Of a file, or of the regular files of a folder with their names, not of those in folders below. A file up
 * to 16 MiB is read whole; of a larger one its size, its first MiB (where safetensors and GGUF describe
 * what is in it) and 1,024 pages evenly over the rest: ranks are to be ready before models of 90 GB are
 * read. Errors name the file. */
adamoe_status adamoe_fingerprint(const char *path, uint64_t *out);

#endif

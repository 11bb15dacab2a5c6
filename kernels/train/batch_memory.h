/*
 * One block of memory for a batch of training, cut into arrays: first without memory, to count, then for
 * good. It grows with the largest batch and is kept.
 */
#ifndef ADAMOE_TRAIN_BATCH_MEMORY_H
#define ADAMOE_TRAIN_BATCH_MEMORY_H

#include "adamoe.h"

/* Logits that are held at a time, in floats: 32 MiB. */
#define ADAMOE_HEAD_FLOATS ((size_t)8 << 20)

/* Zeroed before its first use. */
typedef struct adamoe_batch_memory {
    unsigned char *block;
    size_t bytes;
} adamoe_batch_memory;

/* Hands out parts of a block, each on cache lines of its own; without one it only counts. */
typedef struct adamoe_cutter {
    unsigned char *block;
    size_t used;
} adamoe_cutter;

void *adamoe_cut(adamoe_cutter *cutter, size_t count, size_t element_bytes);
float *adamoe_cut_floats(adamoe_cutter *cutter, size_t count);

/* Makes the block at least so large; what it held is lost. `what` and `tokens` are for the message. Errors:
 * memory. */
adamoe_status adamoe_batch_memory_reserve(adamoe_batch_memory *memory, size_t bytes, const char *what,
                                          size_t tokens);

void adamoe_batch_memory_free(adamoe_batch_memory *memory);

#endif

/*
 * Growing and cutting the memory of a batch.
 */
#include "train/batch_memory.h"
#include "machine/huge_pages.h"

#include <stdlib.h>

#define LINE_BYTES 64

void *adamoe_cut(adamoe_cutter *cutter, size_t count, size_t element_bytes)
{
    void *part = cutter->block == NULL ? NULL : cutter->block + cutter->used;
    cutter->used += (count * element_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    return part;
}

float *adamoe_cut_floats(adamoe_cutter *cutter, size_t count)
{
    return adamoe_cut(cutter, count, sizeof(float));
}

adamoe_status adamoe_batch_memory_reserve(adamoe_batch_memory *memory, size_t bytes, const char *what,
                                          size_t tokens)
{
    if (memory->block != NULL && bytes <= memory->bytes) {
        return adamoe_ok();
    }
    adamoe_batch_memory_free(memory);
    const size_t room = (bytes / LINE_BYTES + 1) * LINE_BYTES; /* of a batch without a token too */
    memory->block = aligned_alloc(LINE_BYTES, room);
    if (memory->block == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory for %zu tokens", what, tokens);
    }
    adamoe_advise_huge_pages(memory->block, room);
    memory->bytes = room;
    return adamoe_ok();
}

void adamoe_batch_memory_free(adamoe_batch_memory *memory)
{
    free(memory->block);
    *memory = (adamoe_batch_memory){NULL, 0};
}

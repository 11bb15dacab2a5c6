/*
 * The services that the project's own programs give to kernels: memory from the heap.
 */
#include "host.h"

#include <stdlib.h>

static void *allocate(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    const size_t at_least = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    void *memory = NULL;
    return posix_memalign(&memory, at_least, bytes > 0 ? bytes : 1) == 0 ? memory : NULL;
}

static void release(void *context, void *memory)
{
    (void)context;
    free(memory);
}

const adamoe_host adamoe_heap_host = {.allocate = allocate, .release = release};

adamoe_placement adamoe_one_node(uint32_t threads)
{
    return (adamoe_placement){.policy = ADAMOE_NUMA_LOCAL, .nodes = 1, .threads = threads};
}

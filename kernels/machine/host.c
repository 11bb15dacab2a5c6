/*
 * The services that the project's own programs give to kernels: memory from the heap, large
 * blocks of it on huge pages where the system has them.
 */
#include "machine/host.h"
#include "machine/huge_pages.h"
#include "machine/memory.h"

#include <stdlib.h>

static void *allocate(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    const bool huge = bytes >= ADAMOE_HUGE_BLOCK;
    size_t at_least = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    at_least = huge && at_least < ADAMOE_HUGE_PAGE ? ADAMOE_HUGE_PAGE : at_least;
    void *memory = NULL;
    if (!adamoe_has_memory(bytes) || posix_memalign(&memory, at_least, bytes > 0 ? bytes : 1) != 0) {
        return NULL;
    }
    if (huge) {
        adamoe_advise_huge_pages(memory, bytes);
    }
    return memory;
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

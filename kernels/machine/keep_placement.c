/*
 * Copies of placements.
 */
#include "machine/keep_placement.h"

#include <string.h>

adamoe_status adamoe_keep_placement(const adamoe_host *host, const adamoe_placement *placement,
                                    adamoe_placement *out)
{
    uint32_t *thread_node = NULL;
    if (placement->thread_node != NULL) {
        const size_t bytes = placement->threads * sizeof *thread_node;
        thread_node = host->allocate(host->context, bytes, _Alignof(uint32_t));
        if (thread_node == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "placement: out of memory");
        }
        memcpy(thread_node, placement->thread_node, bytes);
    }
    *out = *placement;
    out->thread_node = thread_node;
    return adamoe_ok();
}

void adamoe_free_kept_placement(const adamoe_host *host, adamoe_placement *placement)
{
    if (placement->thread_node != NULL) {
        host->release(host->context, (void *)(uintptr_t)placement->thread_node);
        placement->thread_node = NULL;
    }
}

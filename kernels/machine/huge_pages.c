/*
 * Huge pages: weights are read from end to end, and a page of 2 MiB saves 511 of 512 misses of the address
 * cache.
 */
#include "machine/huge_pages.h"
#include "machine/memory.h"
#include "machine/system_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void adamoe_advise_huge_pages(void *memory, size_t bytes)
{
    const uintptr_t start = (uintptr_t)memory;
    const uintptr_t first = (start + ADAMOE_HUGE_PAGE - 1) & ~(ADAMOE_HUGE_PAGE - 1);
    const uintptr_t end = (start + bytes) & ~(ADAMOE_HUGE_PAGE - 1);
    if (end > first) {
        (void)madvise((char *)memory + (first - start), end - first, MADV_HUGEPAGE);
    }
}

float *adamoe_zeroed_floats(size_t count)
{
    if (count > SIZE_MAX / sizeof(float) - 1 || !adamoe_has_memory(count * sizeof(float))) {
        return NULL;
    }
    float *floats = calloc(count + 1, sizeof *floats); /* + 1: calloc(0) may give NULL */
    if (floats != NULL) {
        adamoe_advise_huge_pages(floats, count * sizeof *floats);
    }
    return floats;
}

/* The file has all choices, the one that holds in brackets. */
void adamoe_huge_page_policy(char *text, size_t size)
{
    char line[128];
    const char *open = NULL, *close = NULL;
    if (adamoe_system_file_text("/sys/kernel/mm/transparent_hugepage", "enabled", "", line, sizeof line)) {
        open = strchr(line, '[');
        close = open == NULL ? NULL : strchr(open, ']');
    }
    if (close == NULL) {
        (void)snprintf(text, size, "unknown");
    } else {
        (void)snprintf(text, size, "%.*s", (int)(close - open - 1), open + 1);
    }
}

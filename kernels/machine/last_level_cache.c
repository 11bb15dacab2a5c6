/*
 * The size of the last-level cache, as the processor reports it or as the environment sets it.
 */
#include "machine/last_level_cache.h"
#include "machine/cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A number and K, M, G or nothing; false where it is none, or too large. */
static bool read_size(const char *text, size_t *out)
{
    static const char units[] = "KMG";
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || errno != 0) {
        return false;
    }
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    if (*end != '\0' && (unit == NULL || end[1] != '\0')) {
        return false;
    }
    const unsigned shift = unit == NULL ? 0 : 10 * (unsigned)(unit - units + 1);
    *out = (size_t)number << shift;
    return number <= (SIZE_MAX >> 8) >> shift; /* some times as many bytes are counted too */
}

static bool read_variable(size_t *out)
{
    const char *text = getenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE);
    return text != NULL && read_size(text, out);
}

size_t adamoe_last_level_cache(void)
{
    adamoe_cpu cpu;
    size_t bytes = 0;
    if (read_variable(&bytes)) {
        return bytes;
    }
    bytes = 0;
    adamoe_cpu_describe(&cpu);
    for (size_t i = 0; i < cpu.caches; ++i) {
        bytes = cpu.cache[i].bytes > bytes ? cpu.cache[i].bytes : bytes;
    }
    return bytes;
}

bool adamoe_last_level_cache_is_by_hand(void)
{
    size_t bytes = 0;
    return read_variable(&bytes);
}

adamoe_status adamoe_last_level_cache_check(void)
{
    const char *text = getenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE);
    return text == NULL || adamoe_last_level_cache_is_by_hand()
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: `%.40s' is no size; 33554432, 32M or 1G would be",
                              ADAMOE_LAST_LEVEL_CACHE_VARIABLE, text);
}

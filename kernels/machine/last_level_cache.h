/*
 * The size of the last-level cache, which decides how much must be touched before a weight is cold again, and how
 * large a buffer must be whose reading shows the memory. A virtual machine may report that of a whole socket.
 */
#ifndef ADAMOE_MACHINE_LAST_LEVEL_CACHE_H
#define ADAMOE_MACHINE_LAST_LEVEL_CACHE_H

#include "adamoe.h"

#include <stdbool.h>

/* Set by hand, the size replaces what the processor reports: bytes, or with K, M or G behind the number. */
#define ADAMOE_LAST_LEVEL_CACHE_VARIABLE "ADAMOE_LAST_LEVEL_CACHE"

/* Bytes of the largest cache of processor 0, or those of the variable; 0 where unknown. */
size_t adamoe_last_level_cache(void);

/* True where the variable gives the size. */
bool adamoe_last_level_cache_is_by_hand(void);

/* Errors: a variable that is no size (BAD_INPUT). The program asks once, before anything else; the other two
 * take the processor's own size then. */
adamoe_status adamoe_last_level_cache_check(void);

#endif

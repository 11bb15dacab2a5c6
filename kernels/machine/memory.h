/*
 * How much memory this process may still use.
 */
#ifndef ADAMOE_MACHINE_MEMORY_H
#define ADAMOE_MACHINE_MEMORY_H

#include "adamoe.h"

#include <stdbool.h>
#include <stddef.h>

/* The least of: what the system says is available, what the control groups of this process leave, what its
 * resource limits (data, address space) leave. SIZE_MAX where nothing tells. Bytes. */
size_t adamoe_available_memory(void);

/* The first two of them, from the files below `root` in place of "/" ("" is the machine itself). */
size_t adamoe_available_memory_under(const char *root);

/* What is smaller is allocated without a question: the answer costs some reading of /proc. */
#define ADAMOE_LARGE_BLOCK ((size_t)16 << 20)

/* Asks before `bytes` are allocated for `what`: allocation alone does not tell, because the system promises more
 * than it has and ends the program later. Errors: ENVIRONMENT, where less is available, which says what limits
 * it and what helps: `advice` ("fewer tokens (--tokens)", or NULL), and to raise a limit that is not the
 * machine's own. */
adamoe_status adamoe_ask_memory(const char *what, double bytes, const char *advice);

/* The same question by an allocator, which answers NULL where it is not there. */
bool adamoe_has_memory(size_t bytes);

#endif

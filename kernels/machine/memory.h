/*
 * How much memory this process may still use.
 */
#ifndef ADAMOE_MACHINE_MEMORY_H
#define ADAMOE_MACHINE_MEMORY_H

#include <stddef.h>

/* The least of: what the system says is available, what the control groups of this process leave, what its
 * resource limits (data, address space) leave. SIZE_MAX where nothing tells. Bytes. */
size_t adamoe_available_memory(void);

/* The first two of them, from the files below `root` in place of "/" ("" is the machine itself). */
size_t adamoe_available_memory_under(const char *root);

#endif

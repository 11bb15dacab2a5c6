/*
 * The services that the project's own programs give to kernels.
 */
#ifndef ADAMOE_MACHINE_HOST_H
#define ADAMOE_MACHINE_HOST_H

#include "adamoe.h"

/* Allocation from the heap, with the wish for huge pages for large blocks; no log, no nodes. */
extern const adamoe_host adamoe_heap_host;

/* Everything on one node, for `threads` threads. */
adamoe_placement adamoe_one_node(uint32_t threads);

#endif

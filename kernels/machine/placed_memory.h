/*
 * Memory on NUMA nodes: a host whose allocate_on asks the system for pages of one node, or of all in turn,
 * and the proof, page by page, of where they are.
 */
#ifndef ADAMOE_MACHINE_PLACED_MEMORY_H
#define ADAMOE_MACHINE_PLACED_MEMORY_H

#include "machine/topology.h"

typedef struct adamoe_placed_memory adamoe_placed_memory;

/* Memory on the nodes of a topology, which must outlive it. Errors: memory. */
adamoe_status adamoe_placed_memory_create(const adamoe_topology *topology, adamoe_placed_memory **out);

/* Gives back what was not released, too. */
void adamoe_placed_memory_free(adamoe_placed_memory *memory);

/* The host, without a log; its context is `memory`, and it lives as long. `allocate` takes large blocks from
 * the node that the caller runs on, `allocate_on` those of a page and more from where it is told, whoever
 * touches them first; smaller ones come from the heap and are not counted. Where the system has no memory
 * left on a node, it gives pages of another, and where it refuses to place any it gives them from anywhere:
 * adamoe_placed_memory_verify tells. Large blocks are advised to lie on huge pages, smaller interleaved ones
 * not to. Any thread may call. */
const adamoe_host *adamoe_placed_memory_host(const adamoe_placed_memory *memory);

/* What was found about pages of the system's size; a huge page counts as what it replaces. */
typedef struct adamoe_memory_report {
    size_t blocks;     /* that were asked for, without those from the heap */
    size_t verified;   /* pages on the node that they were asked for */
    size_t misplaced;  /* pages on another; of interleaved ones, those by which a node exceeds its even share,
                          beyond one unit of interleaving (a page, or a huge page where they are advised) */
    size_t untouched;  /* pages that nobody wrote to, which are nowhere */
    size_t unverified; /* pages of which the system does not tell */
    char reason[128];  /* why so, where there are unverified ones; otherwise empty */
} adamoe_memory_report;

/* Every block, those released since the beginning as they were then. Reads the place of each page by
 * move_pages; adamoe_placed_memory_verify_released(memory, false) saves that for released ones, which then
 * are not counted. */
adamoe_memory_report adamoe_placed_memory_verify(adamoe_placed_memory *memory);
void adamoe_placed_memory_verify_released(adamoe_placed_memory *memory, bool verify);

#endif

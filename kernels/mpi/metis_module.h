/*
 * What the module on METIS brings. It is a shared object of its own, loaded where experts are placed by co-activation:
 * METIS linked into the program would cost every thread of it 28 KB of thread-local data, and nearly no run cuts a graph.
 */
#ifndef ADAMOE_MPI_METIS_MODULE_H
#define ADAMOE_MPI_METIS_MODULE_H

#include "adamoe.h"

/* Version of the structure; the module and the program are built together. */
#define ADAMOE_METIS_MODULE 1u

typedef struct adamoe_metis_module {
    uint32_t version;
    /* As adamoe_partition (partition.h). */
    adamoe_status (*partition)(size_t vertices, const uint64_t *weight, const uint64_t *edge, size_t parts,
                               size_t room, uint32_t *part);
} adamoe_metis_module;

extern ADAMOE_EXPORT const adamoe_metis_module adamoe_metis_module_export;

#endif

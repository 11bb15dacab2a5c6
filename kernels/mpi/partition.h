/*
 * A weighted graph cut into parts of equal weight, so that little is cut.
 */
#ifndef ADAMOE_MPI_PARTITION_H
#define ADAMOE_MPI_PARTITION_H

#include "adamoe.h"

/* Whether this build has METIS, whose module is loaded for each call and no longer (metis_module.h). */
bool adamoe_has_partitioner(void);

/* part [vertices], values below `parts`, which is at least 1: cuts the graph in two, and each side again, always by the
 * least cut that METIS finds within several tolerances of weight; the same for the same graph. weight [vertices], whose
 * sum shall be nearly the same for each part; edge [vertices, vertices] symmetric, 0 where there is none. No part gets
 * more than `room` vertices, with vertices <= room * parts: what METIS puts on top moves to the other side where that
 * loses least. Sums beyond 2^30 are scaled down. Errors: a build without METIS (NOT_SUPPORTED); memory, and what METIS
 * refuses (ENVIRONMENT). */
adamoe_status adamoe_partition(size_t vertices, const uint64_t *weight, const uint64_t *edge, size_t parts,
                               size_t room, uint32_t *part);

#endif

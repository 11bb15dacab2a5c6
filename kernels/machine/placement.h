/*
 * Where weights and threads live on several NUMA nodes: the share of each node in the experts, in the rows of
 * a matrix and in the threads.
 */
#ifndef ADAMOE_MACHINE_PLACEMENT_H
#define ADAMOE_MACHINE_PLACEMENT_H

#include "machine/topology.h"

/* "local", "interleave", "experts", "split", in the order of adamoe_numa_policy. */
extern const char *const adamoe_numa_policy_names[4];

/* `threads` threads on the nodes of a topology, as evenly as it goes: thread t is on node t * nodes /
 * threads. Under the policy local, threads that fit the processors of one node all go to one: the caller's
 * where its processor is known, else the first. thread_node belongs to the placement. Errors: no threads
 * (BAD_INPUT), memory. */
adamoe_status adamoe_placement_create(const adamoe_topology *topology, adamoe_numa_policy policy,
                                      uint32_t threads, adamoe_placement **out);
void adamoe_placement_free(adamoe_placement *placement);

/* The node of a thread. */
uint32_t adamoe_thread_node(const adamoe_placement *placement, uint32_t thread);

/* The node of an expert of `experts` under the policy experts: e * nodes / experts. */
uint32_t adamoe_expert_node(const adamoe_placement *placement, size_t expert, size_t experts);

/* The experts of a node under the policy experts, or its part of `count` panels of a matrix under
 * split: first .. end-1. The parts of all nodes follow each other without a gap, and no two differ
 * by more than one. */
void adamoe_split_range(const adamoe_placement *placement, uint32_t node, size_t count, size_t *first,
                        size_t *end);

/* Memory for weights that the policy puts on `node`: a node's own under experts and split, on
 * all nodes in turn under interleave, and where the caller is under local. As host->allocate;
 * given back by host->release. */
void *adamoe_placed_allocate(const adamoe_host *host, const adamoe_placement *placement, uint32_t node,
                             size_t bytes, size_t alignment);

#endif

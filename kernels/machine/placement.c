/*
 * Where weights and threads live on several NUMA nodes. Nothing here touches memory or pins a thread: see
 * placed_memory.c and team.c.
 */
#include "machine/placement.h"

#include <sched.h>
#include <stdlib.h>

const char *const adamoe_numa_policy_names[4] = {"local", "interleave", "experts", "split"};

/* --------------------------------------------------------------------------------------------- threads */

/* The node of the processor that the caller runs on; 0 where that is not known. */
static uint32_t current_node(const adamoe_topology *topology)
{
    const int cpu = sched_getcpu();
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        for (uint32_t i = 0; i < topology->node[n].cpus; ++i) {
            if (cpu >= 0 && topology->node[n].cpu[i] == (uint32_t)cpu) {
                return n;
            }
        }
    }
    return 0;
}

static void spread_threads(const adamoe_topology *topology, adamoe_numa_policy policy, uint32_t threads,
                           uint32_t *thread_node)
{
    const uint32_t home = current_node(topology);
    const bool together = policy == ADAMOE_NUMA_LOCAL && threads <= topology->node[home].cpus;
    for (uint32_t t = 0; t < threads; ++t) {
        thread_node[t] = together ? home : (uint32_t)((uint64_t)t * topology->nodes / threads);
    }
}

adamoe_status adamoe_placement_create(const adamoe_topology *topology, adamoe_numa_policy policy,
                                      uint32_t threads, adamoe_placement **out)
{
    if (threads == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "placement: no threads");
    }
    adamoe_placement *placement = calloc(1, sizeof *placement);
    uint32_t *thread_node = calloc(threads, sizeof *thread_node);
    if (placement == NULL || thread_node == NULL) {
        free(placement);
        free(thread_node);
        return adamoe_error(ADAMOE_ENVIRONMENT, "placement: out of memory");
    }
    spread_threads(topology, policy, threads, thread_node);
    *placement = (adamoe_placement){
        .policy = policy, .nodes = topology->nodes, .threads = threads, .thread_node = thread_node};
    *out = placement;
    return adamoe_ok();
}

void adamoe_placement_free(adamoe_placement *placement)
{
    if (placement != NULL) {
        free((uint32_t *)(uintptr_t)placement->thread_node);
        free(placement);
    }
}

uint32_t adamoe_thread_node(const adamoe_placement *placement, uint32_t thread)
{
    return placement->thread_node == NULL ? 0 : placement->thread_node[thread];
}

/* --------------------------------------------------------------------------------------------- weights */

uint32_t adamoe_expert_node(const adamoe_placement *placement, size_t expert, size_t experts)
{
    return (uint32_t)(expert * placement->nodes / experts);
}

/* Expert e is on node floor(e * nodes / count), so node n begins at the first e with e * nodes
 * >= n * count. */
void adamoe_split_range(const adamoe_placement *placement, uint32_t node, size_t count, size_t *first,
                        size_t *end)
{
    const size_t nodes = placement->nodes;
    *first = (node * count + nodes - 1) / nodes;
    *end = ((node + 1) * count + nodes - 1) / nodes;
}

void *adamoe_placed_allocate(const adamoe_host *host, const adamoe_placement *placement, uint32_t node,
                             size_t bytes, size_t alignment)
{
    if (host->allocate_on == NULL || placement->policy == ADAMOE_NUMA_LOCAL) {
        return host->allocate(host->context, bytes, alignment);
    }
    const bool all = placement->policy == ADAMOE_NUMA_INTERLEAVE;
    return host->allocate_on(host->context, bytes, alignment, all ? ADAMOE_ALL_NODES : node);
}

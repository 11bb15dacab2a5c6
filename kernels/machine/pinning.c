/*
 * Which processor each thread of a team is pinned to.
 */
#include "machine/pinning.h"
#include "machine/placement.h"

#include <stdlib.h>

static uint32_t threads_on(const adamoe_placement *placement, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < placement->threads; ++t) {
        count += adamoe_thread_node(placement, t) == node;
    }
    return count;
}

/* How many of the pins so far name the processor, on whatever node. */
static uint32_t uses(const adamoe_pin *pins, uint32_t count, uint32_t cpu)
{
    uint32_t used = 0;
    for (uint32_t t = 0; t < count; ++t) {
        used += pins[t].kind == ADAMOE_PIN_CPU && pins[t].cpu == cpu;
    }
    return used;
}

static uint32_t position(const adamoe_topology_node *node, int cpu)
{
    for (uint32_t i = 0; i < node->cpus; ++i) {
        if (cpu >= 0 && node->cpu[i] == (uint32_t)cpu) {
            return i;
        }
    }
    return 0;
}

/* The processor of the node that the fewest of the first `count` pins name. */
static uint32_t least_used(const adamoe_topology_node *node, const adamoe_pin *pins, uint32_t count,
                           int current_cpu)
{
    const uint32_t start = position(node, current_cpu);
    uint32_t best = node->cpu[start], fewest = uses(pins, count, best);
    for (uint32_t step = 1; step < node->cpus && fewest > 0; ++step) {
        const uint32_t cpu = node->cpu[(start + step) % node->cpus], used = uses(pins, count, cpu);
        if (used < fewest) {
            best = cpu;
            fewest = used;
        }
    }
    return best;
}

/* Processors that some node names, each counted once. */
static uint32_t distinct_cpus(const adamoe_topology *topology)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        for (uint32_t i = 0; i < topology->node[n].cpus; ++i) {
            bool seen = false;
            for (uint32_t earlier = 0; earlier < n && !seen; ++earlier) {
                const adamoe_topology_node *node = &topology->node[earlier];
                seen = node->cpu[position(node, (int)topology->node[n].cpu[i])] == topology->node[n].cpu[i];
            }
            count += !seen;
        }
    }
    return count;
}

bool adamoe_choose_pins(const adamoe_topology *topology, const adamoe_placement *placement, int current_cpu,
                        adamoe_pin *pins)
{
    const bool local = placement->policy == ADAMOE_NUMA_LOCAL;
    bool apart = placement->threads <= distinct_cpus(topology);
    for (uint32_t t = 0; t < placement->threads; ++t) {
        const uint32_t n = adamoe_thread_node(placement, t), threads = threads_on(placement, n);
        const adamoe_topology_node *node = &topology->node[n];
        pins[t] = (adamoe_pin){.kind = ADAMOE_PIN_NODE, .node = n};
        if (threads > node->cpus) {
            apart = false;
        } else if (!local || threads == node->cpus) {
            pins[t].cpu = least_used(node, pins, t, current_cpu);
            apart = apart && uses(pins, t, pins[t].cpu) == 0;
            pins[t].kind = ADAMOE_PIN_CPU;
        }
        if (local && topology->nodes == 1 && pins[t].kind == ADAMOE_PIN_NODE) {
            pins[t].kind = ADAMOE_PIN_NOWHERE;
        }
    }
    return apart;
}

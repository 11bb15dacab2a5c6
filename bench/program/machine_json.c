/*
 * Nodes, placement and memory as JSON.
 */
#include "program/machine_json.h"
#include "machine/huge_pages.h"
#include "program/json_output.h"

static json_t *cpus_json(const adamoe_topology_node *node)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < node->cpus; ++i) {
        json_array_append_new(list, json_integer((json_int_t)node->cpu[i]));
    }
    return list;
}

static json_t *distances_json(const adamoe_topology *topology, uint32_t from)
{
    json_t *list = json_array();
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        json_array_append_new(list, json_integer((json_int_t)topology->distance[from][n]));
    }
    return list;
}

json_t *adamoe_topology_json(const adamoe_topology *topology)
{
    json_t *nodes = json_array();
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        const adamoe_topology_node *node = &topology->node[n];
        json_array_append_new(nodes, json_pack("{s:I,s:o,s:I,s:I,s:o}", "memory_of_node",
                                               (json_int_t)node->machine_node, "processors", cpus_json(node),
                                               "memory_bytes", (json_int_t)node->memory_bytes, "free_bytes",
                                               (json_int_t)node->free_bytes, "distances",
                                               distances_json(topology, n)));
    }
    return nodes;
}

json_t *adamoe_huge_pages_json(void)
{
    char policy[32];
    adamoe_huge_page_policy(policy, sizeof policy);
    return json_string(policy);
}

json_t *adamoe_machine_json(const adamoe_machine *machine)
{
    const adamoe_memory_report report = adamoe_placed_memory_verify(machine->memory);
    json_t *thread_node = json_array();
    for (uint32_t t = 0; t < machine->placement->threads; ++t) {
        json_array_append_new(thread_node,
                              json_integer((json_int_t)adamoe_thread_node(machine->placement, t)));
    }
    return json_pack("{s:s,s:b,s:o,s:o,s:{s:I,s:I,s:I,s:I,s:I,s:o}}", "numa_policy",
                     adamoe_numa_policy_names[machine->placement->policy], "topology_by_hand",
                     (int)machine->topology->by_hand, "nodes", adamoe_topology_json(machine->topology),
                     "thread_node", thread_node, "pages", "blocks", (json_int_t)report.blocks, "verified",
                     (json_int_t)report.verified, "misplaced", (json_int_t)report.misplaced, "untouched",
                     (json_int_t)report.untouched, "unverified", (json_int_t)report.unverified, "reason",
                     report.reason[0] == '\0' ? json_null() : adamoe_json_text(report.reason));
}

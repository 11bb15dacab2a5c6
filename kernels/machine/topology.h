/*
 * The NUMA nodes that this process may use: their processors, their memory, how far they are from each other;
 * from the system, or given by hand.
 */
#ifndef ADAMOE_MACHINE_TOPOLOGY_H
#define ADAMOE_MACHINE_TOPOLOGY_H

#include "adamoe.h"

/* More are not used. */
#define ADAMOE_MAX_NODES 64

typedef struct adamoe_topology_node {
    uint32_t machine_node; /* where its memory is taken from: the system's number of a node */
    uint32_t cpus;         /* at least 1 */
    uint32_t *cpu;         /* [cpus] ascending numbers of processors; those that this process may use */
    size_t memory_bytes;   /* of machine_node; 0 where the system does not tell */
    size_t free_bytes;
} adamoe_topology_node;

typedef struct adamoe_topology {
    bool by_hand;
    uint32_t nodes; /* 1 .. ADAMOE_MAX_NODES */
    adamoe_topology_node node[ADAMOE_MAX_NODES];
    uint32_t distance[ADAMOE_MAX_NODES][ADAMOE_MAX_NODES]; /* as the firmware tells it: 10 within a node */
} adamoe_topology;

/* The nodes of the machine with a processor that this process may use. A node without memory takes it from
 * the nearest one that this process may take memory from; a node without processors is used by nobody. One
 * node with all processors where the system knows of no nodes. Errors: memory. */
adamoe_status adamoe_topology_detect(adamoe_topology **out);

/* The same from the files below `root` in place of "/" ("" is the machine itself). */
adamoe_status adamoe_topology_detect_under(const char *root, adamoe_topology **out);

/* Nodes given by hand, on a machine. The text has nodes, separated by colons, each a list of processors and
 * ranges of processors, separated by commas: "0-3,8:4-7" is two nodes, "0:0:1:1" four on two processors.
 * Nodes may share processors; the memory of a node is that of the machine's node its processors belong to.
 * Errors (BAD_INPUT, naming the node and the place in the text): anything else; a processor that this process
 * may not use, or that a node names twice; processors of different nodes of the machine in one node; too many
 * nodes. */
adamoe_status adamoe_topology_parse(const char *text, const adamoe_topology *machine, adamoe_topology **out);

void adamoe_topology_free(adamoe_topology *topology);

/* The text that adamoe_topology_parse would read: nodes as lists of processors. Truncated to its size. */
void adamoe_topology_describe(const adamoe_topology *topology, char *text, size_t size);

#endif

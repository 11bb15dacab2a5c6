/*
 * Which processor each thread of a team is pinned to. A decision only; team.c carries it out.
 */
#ifndef ADAMOE_MACHINE_PINNING_H
#define ADAMOE_MACHINE_PINNING_H

#include "machine/topology.h"

typedef enum adamoe_pin_kind {
    ADAMOE_PIN_NOWHERE = 0, /* the system moves the thread as it likes */
    ADAMOE_PIN_NODE = 1,    /* to the processors of its node */
    ADAMOE_PIN_CPU = 2,     /* to one processor of its node */
} adamoe_pin_kind;

typedef struct adamoe_pin {
    adamoe_pin_kind kind;
    uint32_t node, cpu;
} adamoe_pin;

/* Fills pins[placement->threads]. A node with enough processors for its threads gives each its own: the one
 * with the fewest threads so far, from `current_cpu` on, which is the one that thread 0 runs on (negative:
 * not known), so that the first threads of several programs do not meet on the first processor. A node with
 * fewer gives them all. Under the policy local with fewer threads than the nodes in use have processors,
 * threads are kept on their nodes, and not pinned at all where there is only one. Returns whether every
 * thread has a processor to itself as far as this team goes. */
bool adamoe_choose_pins(const adamoe_topology *topology, const adamoe_placement *placement, int current_cpu,
                        adamoe_pin *pins);

#endif

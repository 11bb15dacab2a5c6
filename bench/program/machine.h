/*
 * What a verb computes with: the machine's nodes, or those given by hand; where weights and threads live on
 * them; the team; the memory. Opened once from the common options, closed once.
 */
#ifndef ADAMOE_PROGRAM_MACHINE_H
#define ADAMOE_PROGRAM_MACHINE_H

#include "machine/placed_memory.h"
#include "machine/placement.h"
#include "machine/team.h"

typedef struct adamoe_machine_options {
    uint32_t threads; /* 0: one for each processor of the nodes, at least one for each node */
    adamoe_numa_policy policy;
    const char *topology; /* as adamoe_topology_parse reads it; NULL: the machine's own */
} adamoe_machine_options;

typedef struct adamoe_machine {
    adamoe_topology *topology;
    adamoe_placement *placement;
    adamoe_team *team;
    adamoe_placed_memory *memory;
    adamoe_host host; /* for prepare; its log goes to standard error */
} adamoe_machine;

/* Pins the calling thread as team.h says, and with it every program that the caller starts until the machine
 * is closed: a verb that runs others opens it in those. Errors: a topology that cannot be read (BAD_INPUT,
 * naming
 * --numa-topology); memory, threads. On failure nothing is left open. */
adamoe_status adamoe_machine_open(const adamoe_machine_options *options, adamoe_machine *out);

/* After what was prepared with its host is released. Accepts a machine of zeros. */
void adamoe_machine_close(adamoe_machine *machine);

/* One line about policy, nodes and where the pages of the weights were found, for a person. */
typedef struct adamoe_machine_text {
    char text[512];
} adamoe_machine_text;

adamoe_machine_text adamoe_machine_describe(const adamoe_machine *machine);

#endif

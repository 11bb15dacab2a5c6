/*
 * What else a machine had to do while a run over ranks went on. What the other ranks of the machine compute is the run's
 * own work, and so is what carries its messages in an emulated network. Leaves out other machines: each judges itself.
 */
#ifndef ADAMOE_RANKS_SHARED_LOAD_H
#define ADAMOE_RANKS_SHARED_LOAD_H

#include "mpi/world.h"
#include "program/environment.h"

/* A rank's machine at one moment. */
typedef struct adamoe_shared_load {
    adamoe_load_mark mark;
    double carrier; /* processor seconds of the program that carries messages */
} adamoe_shared_load;

void adamoe_shared_load_begin(adamoe_shared_load *out);

/* The mark that load.mark would be, if this process had used all that the run used on this machine since: what
 * adamoe_disturbance_between and adamoe_environment_json take for the beginning. That something waited for a processor is
 * left out of it, as ranks wait for each other. Of a process alone it is load.mark. By all ranks together, at the end of
 * what is judged; begins with a barrier. Errors: memory; those of messages. */
adamoe_status adamoe_shared_load_end(const adamoe_world *world, const adamoe_shared_load *load,
                                     adamoe_load_mark *out);

#endif

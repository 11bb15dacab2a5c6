/*
 * What the module on MPI brings. It is a shared object of its own, loaded where a program was started by
 * mpirun: linking MPI's library into the program would cost each start of it, and every machine without
 * ranks has no use for it.
 */
#ifndef ADAMOE_MPI_MPI_MODULE_H
#define ADAMOE_MPI_MPI_MODULE_H

#include "mpi/world.h"

/* Version of the structure; the module and the program are built together. */
#define ADAMOE_MPI_MODULE 1u

typedef struct adamoe_mpi_module {
    uint32_t version;
    /* Starts MPI. A rank that says nothing for `patience` seconds is taken for dead: each one says that it
     * is alive about once a second, by a thread of its own, so that one that computes for long is not. Seconds in
     * which the rank that waits was itself stopped are not counted.
     * Errors: ENVIRONMENT. */
    adamoe_status (*open)(double patience, adamoe_world *out);
    /* By all ranks, when all have come to their end (a barrier): nobody says any more that it is alive, and what
     * lasts longer than `patience` is taken for the end of a rank. */
    void (*close)(adamoe_world *world);
    /* What another rank said or did that ended this one's waiting; OK where it was nothing of theirs. */
    adamoe_status (*cause)(const adamoe_world *world);
    /* Whether nothing has been heard of a rank for too long. */
    bool (*is_silent)(const adamoe_world *world, uint32_t rank);
    /* Ends all ranks with this exit code. Does not return. */
    void (*abort)(adamoe_world *world, int code);
    /* MPI's own name and version. */
    void (*describe)(char *text, size_t size);
} adamoe_mpi_module;

extern ADAMOE_EXPORT const adamoe_mpi_module adamoe_mpi_module_export;

#endif

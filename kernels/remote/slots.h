/*
 * Functions of a kernel that are given nothing by which they could know which kernel they belong to: `supported` and
 * `prepare`. Each place of a small table has a pair of its own. The table is the one global of the folder.
 */
#ifndef ADAMOE_REMOTE_SLOTS_H
#define ADAMOE_REMOTE_SLOTS_H

#include "adamoe.h"

/* Kernels in processes of their own, and kernels whose experts live on ranks, that a program can have at a time. */
#define ADAMOE_REMOTE_SLOTS 32

/* What the functions of a place call. */
typedef struct adamoe_slot {
    void *context;
    bool (*supported)(void *context, const char **why_not);
    adamoe_status (*prepare)(void *context, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out);
} adamoe_slot;

/* Sets `supported` and `prepare` of the kernel to those of a free place. False where there is none. */
bool adamoe_slot_take(adamoe_slot slot, adamoe_kernel *kernel);

/* Gives back the place of a kernel; one that has none is allowed. */
void adamoe_slot_give_back(const adamoe_kernel *kernel);

/* The context of the place that the kernel, or the one that it is a copy of, has; NULL for those without one, and for
 * those whose `prepare` is another one: a context is of use to those alone who filled the place. */
void *adamoe_slot_context(const adamoe_kernel *kernel,
                          adamoe_status (*prepare)(void *context, const adamoe_host *host,
                                                   const adamoe_layer *layer,
                                                   const adamoe_placement *placement, adamoe_prepared **out));

#endif

/*
 * All kernels that a program can use: the built-in ones, those of shared objects, and those of processes of their own.
 */
#ifndef ADAMOE_REGISTRY_H
#define ADAMOE_REGISTRY_H

#include "adamoe.h"

typedef struct adamoe_registry adamoe_registry;

/* A registry of the built-in kernels. Errors: memory. */
adamoe_status adamoe_registry_create(adamoe_registry **out);

/* Unloads the shared objects and ends the processes too: nothing of their kernels may be in use. */
void adamoe_registry_free(adamoe_registry *registry);

/* Adds the kernels of a shared object that exports `adamoe_plugin_export`. Errors name the file: BAD_INPUT
 * where there is none, where it is no shared object, cannot be loaded, exports no such object, has another
 * ABI, brings no kernels, or one that lacks a function which a kernel must have, declares an arithmetic that
 * there is not, sums its operands in what cannot hold them, gives a guarantee that this version does not
 * know, or has a name that is taken or has upper case, blanks or slashes in it; ENVIRONMENT where the file
 * cannot be read. Nothing is added then. */
adamoe_status adamoe_registry_load(adamoe_registry *registry, const char *path);

/* Adds the kernels of a process of its own (remote/remote.h): the shell runs `command`, which must outlive the registry,
 * and has so many seconds to announce them.
 * Errors name it: those of adamoe_remote_open, and of a kernel that is announced as adamoe_registry_load has them. Nothing
 * is added then. */
adamoe_status adamoe_registry_run(adamoe_registry *registry, const char *command, unsigned seconds);

size_t adamoe_registry_count(const adamoe_registry *registry);
const adamoe_kernel *adamoe_registry_at(const adamoe_registry *registry, size_t index);

/* NULL where there is none of that name. */
const adamoe_kernel *adamoe_registry_find(const adamoe_registry *registry, const char *name);

/* The fastest built-in kernel with float32 operands that this machine can run. */
const adamoe_kernel *adamoe_registry_default(const adamoe_registry *registry);

#endif

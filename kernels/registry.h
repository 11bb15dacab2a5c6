/*
 * All kernels that a program can use: the built-in ones, and those of shared objects.
 */
#ifndef ADAMOE_REGISTRY_H
#define ADAMOE_REGISTRY_H

#include "adamoe.h"

typedef struct adamoe_registry adamoe_registry;

/* A registry of the built-in kernels. Errors: memory. */
adamoe_status adamoe_registry_create(adamoe_registry **out);

/* Unloads the shared objects too: nothing of their kernels may be in use. */
void adamoe_registry_free(adamoe_registry *registry);

/* Adds the kernels of a shared object that exports `adamoe_plugin_export`. Errors name the file: BAD_INPUT
 * where there is none, where it is no shared object, cannot be loaded, exports no such object, has another
 * ABI, brings no kernels, or one that lacks a function which a kernel must have, declares an arithmetic that
 * there is not, sums its operands in what cannot hold them, gives a guarantee that this version does not
 * know, or has a name that is taken or has upper case, blanks or slashes in it; ENVIRONMENT where the file
 * cannot be read. Nothing is added then. */
adamoe_status adamoe_registry_load(adamoe_registry *registry, const char *path);

size_t adamoe_registry_count(const adamoe_registry *registry);
const adamoe_kernel *adamoe_registry_at(const adamoe_registry *registry, size_t index);

/* NULL where there is none of that name. */
const adamoe_kernel *adamoe_registry_find(const adamoe_registry *registry, const char *name);

/* The fastest built-in kernel with float32 operands that this machine can run. */
const adamoe_kernel *adamoe_registry_default(const adamoe_registry *registry);

#endif

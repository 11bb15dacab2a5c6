/*
 * Modules of the program: shared objects that are loaded when they are needed, for libraries that most runs do without.
 * One stands beside the program, as it is built, or where it is installed, and exports one structure, whose first member is
 * its version.
 */
#ifndef ADAMOE_MPI_MODULE_H
#define ADAMOE_MPI_MODULE_H

#include "adamoe.h"

typedef struct adamoe_module {
    void *handle;
} adamoe_module;

typedef enum adamoe_module_scope {
    ADAMOE_MODULE_LOCAL = 0,
    ADAMOE_MODULE_GLOBAL = 1, /* what is loaded later finds the names of what the module is linked with */
} adamoe_module_scope;

/* *found is the structure NAME_module_export of NAME.so. Errors: there is no such file (NOT_SUPPORTED, without a message:
 * the caller knows what this build has gone without); it cannot be loaded, or is of another build (ENVIRONMENT). */
adamoe_status adamoe_module_open(const char *name, uint32_t version, adamoe_module_scope scope,
                                 adamoe_module *out, const void **found);

/* What the structure names is gone afterwards. */
void adamoe_module_close(adamoe_module *module);

#endif

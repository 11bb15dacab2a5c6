/*
 * Where the data lie that ship with the project.
 */
#ifndef ADAMOE_PROGRAM_SHIPPED_H
#define ADAMOE_PROGRAM_SHIPPED_H

#include "adamoe.h"

typedef struct adamoe_shipped_file {
    char path[4096];
} adamoe_shipped_file;

/* The path of `name`, "datasets/tiny-adamoe": in the working folder, which may be the project's, or else
 * where the program's data were installed. Errors: BAD_INPUT, if it is in neither. */
adamoe_status adamoe_find_shipped(const char *name, adamoe_shipped_file *out);

#endif

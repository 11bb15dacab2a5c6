/*
 * Running this program once more, as a child with arguments of its own: what it does can be repeated by hand, and a
 * crash costs one run.
 */
#ifndef ADAMOE_PROGRAM_CHILD_ARGUMENTS_H
#define ADAMOE_PROGRAM_CHILD_ARGUMENTS_H

#include "program/options.h"

/* The arguments of a child, the last of them NULL. */
typedef struct adamoe_arguments {
    char *item[96];
    size_t count;
    bool failed; /* no memory or no room: the next call that returns a status says so */
} adamoe_arguments;

__attribute__((format(printf, 2, 3))) void adamoe_argument(adamoe_arguments *arguments, const char *format,
                                                           ...);
void adamoe_arguments_free(adamoe_arguments *arguments);

/* --plugin, --command, --threads, --numa and --numa-topology as they were given. */
void adamoe_machine_arguments(const adamoe_common_options *options, adamoe_arguments *arguments);

/* Runs this program until it ends; *text is what it printed, to be freed. Where this process ends, the next line that
 * the child writes ends it. Errors: as the child's exit code says, with the command and how it ended; memory. */
adamoe_status adamoe_run_itself(const adamoe_arguments *arguments, char **text);

#endif

/*
 * A program that is started beside this one, with some descriptors of this process as its own. It is spawned, never
 * forked: the libraries' threads would not survive a fork.
 */
#ifndef ADAMOE_MACHINE_SPAWN_H
#define ADAMOE_MACHINE_SPAWN_H

#include "adamoe.h"

#include <sys/types.h>

/* A descriptor of this process, and its number in the program's. */
typedef struct adamoe_passed {
    int here, there;
} adamoe_passed;

/* Starts the file `program` with `arguments`, the last of them NULL. Of all descriptors it gets those that are passed,
 * in this order, and those that are not closed on execution. SIGPIPE is as usual there. Errors: BAD_INPUT where
 * there is no such program; ENVIRONMENT. The message begins with the program's name. */
adamoe_status adamoe_spawn(const char *program, const char *const *arguments, const adamoe_passed *passed,
                           size_t count, pid_t *pid);

#endif

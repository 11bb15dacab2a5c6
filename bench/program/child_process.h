/*
 * Another program that is run beside this one, with its standard input and output at hand. Its standard error
 * stays this program's.
 */
#ifndef ADAMOE_PROGRAM_CHILD_PROCESS_H
#define ADAMOE_PROGRAM_CHILD_PROCESS_H

#include "adamoe.h"

#include <sys/types.h>

typedef struct adamoe_child {
    char name[256]; /* for messages */
    pid_t pid;      /* 0: none */
    int input, output;
    char pending[1024]; /* [held] read and not handed out yet */
    size_t held;
} adamoe_child;

/* Starts `program` with `arguments`, the last of them NULL. The caller ignores SIGPIPE. Errors: BAD_INPUT
 * where there is no such program; ENVIRONMENT. */
adamoe_status adamoe_child_start(const char *program, const char *const *arguments, adamoe_child *out);

/* Writes a line to the child, its end included in the format. Errors: ENVIRONMENT where it has gone. */
__attribute__((format(printf, 2, 3))) adamoe_status adamoe_child_say(adamoe_child *child, const char *format,
                                                                     ...);

/* Reads a line, without its end, that must come within so many seconds. Errors, as ENVIRONMENT: it did not
 * come, it is longer than `size`, the child has gone; the message says how it ended. */
adamoe_status adamoe_child_hear(adamoe_child *child, double seconds, char *line, size_t size);

/* Reads everything until the child closes its output; *text is zero-terminated and freed with free(). A signal that
 * adamoe_hold_signals holds back is passed on, so that the child ends and with it the wait. */
adamoe_status adamoe_child_read_all(adamoe_child *child, char **text, size_t *length);

/* Closes its input, waits for it, and describes how it ended: its exit code, or -1 and `how` says the signal.
 * One that was not started is allowed, and gives 0. With `kill` it is not waited for until it likes. */
int adamoe_child_end(adamoe_child *child, bool kill, char *how, size_t size);

#endif

/*
 * A process that brings kernels: started, spoken to and ended. What is said is in kernels/remote/README.md.
 *
 * Left out: what messages mean (remote.h), and memory that is shared with it (region.h).
 */
#ifndef ADAMOE_REMOTE_PROCESS_H
#define ADAMOE_REMOTE_PROCESS_H

#include "adamoe.h"

#include <sys/types.h>

/* The longest message, in bytes. */
#define ADAMOE_REMOTE_MESSAGE 65536

/* The most descriptors that go with a message. */
#define ADAMOE_REMOTE_DESCRIPTORS 2

typedef struct adamoe_remote_process {
    const char *command; /* the caller's */
    pid_t id;            /* 0: none */
    int socket;          /* messages both ways */
    int output;          /* its standard output, where nothing should come */
} adamoe_remote_process;

/* Runs `exec command` by the shell, so that it is one program with its arguments, in a process group of its own, with nothing on standard input and this program's
 * standard error. It is killed when the thread that started it ends, and sees the end of its socket when this process
 * does. Errors: ENVIRONMENT. That there is no such program is seen by the shell alone, and told by the first receive. */
adamoe_status adamoe_remote_start(const char *command, adamoe_remote_process *out);

/* Sends one message. Errors: it has ended, and how (see adamoe_remote_receive). */
adamoe_status adamoe_remote_send(adamoe_remote_process *process, const char *message, size_t length,
                                 const int *descriptor, size_t descriptors);

/* How long adamoe_remote_receive waits from now on. */
void adamoe_remote_patience(adamoe_remote_process *process, unsigned seconds);

/* The next message, zero-terminated, into message[ADAMOE_REMOTE_MESSAGE + 1]. Errors, after each of which the process
 * is ended: it has ended, it says nothing, it says too much, it wrote to its standard output (BAD_INPUT); something from
 * outside ended it (ENVIRONMENT). `doing` says what it was to do, for the message. */
adamoe_status adamoe_remote_receive(adamoe_remote_process *process, const char *doing, char *message,
                                    size_t *length);

/* Whether it is there and silent, without waiting; one that was not started is allowed. Errors: as adamoe_remote_receive,
 * and that it says something without being asked. */
adamoe_status adamoe_remote_look(adamoe_remote_process *process, const char *doing);

/* Ends it because of something that it said; returns BAD_INPUT: "COMMAND: DOING: REASON". */
__attribute__((format(printf, 3, 4))) adamoe_status
adamoe_remote_refuse(adamoe_remote_process *process, const char *doing, const char *format, ...);

/* Closes its socket, gives it a moment to end, and kills what is left of its group. One that was not started is
 * allowed. */
void adamoe_remote_end(adamoe_remote_process *process);

#endif

/*
 * A child process of `adamoe check` as its parent sees it: started, listened to, and given so much time.
 */
#ifndef ADAMOE_CHECK_PROCESS_H
#define ADAMOE_CHECK_PROCESS_H

#include "check/deadline.h"
#include "check/options.h"

#include <jansson.h>
#include <sys/types.h>

/* Zeroed before its first start; `text` is kept for the next one, and freed by its owner. */
typedef struct adamoe_check_process {
    pid_t id; /* 0: none */
    int lines;
    char *text; /* what of a line has come so far */
    size_t length, room;
    adamoe_check_deadline deadline; /* of its case */
    bool started;                   /* a line has come: it is this program */
    bool hung;
    adamoe_status error; /* what it reported, or what kept its parent from listening */
} adamoe_check_process;

/* Starts this program for `work` (check/child.h) on one kernel, or where that is NULL on those of the
 * options; its clock begins. Errors: processes. */
adamoe_status adamoe_check_process_start(const adamoe_check_options *options, const char *work,
                                         const char *kernel, adamoe_check_process *out);

/* Calls `line` for each whole line that is there now, NULL for one that is not JSON: the kernel wrote into
 * its process's lines. False where there will be no more. */
bool adamoe_check_process_listen(adamoe_check_process *process,
                                 void (*line)(void *context, const json_t *json), void *context);

/* True where it took longer than `timeout` seconds (check/deadline.h), and has been ended. Errors, as
 * ENVIRONMENT: it has been stopped for so long. */
adamoe_status adamoe_check_process_look(adamoe_check_process *process, uint32_t timeout, bool *late);

/* Waits for its end and returns the status that waitpid gives. */
int adamoe_check_process_wait(adamoe_check_process *process);

/* Where it ended, or reported an error, before it had done its work: who did it. */
typedef enum adamoe_check_blame {
    ADAMOE_CHECK_BLAME_KERNEL = 0, /* a fault, an exit, a hang */
    ADAMOE_CHECK_BLAME_SYSTEM = 1, /* it did not even start, a signal that comes from outside, ENVIRONMENT */
} adamoe_check_blame;

/* `status` is waitpid's; `text` becomes "ended by signal 11 (Segmentation fault)" or the like. */
adamoe_check_blame adamoe_check_blame_for(const adamoe_check_process *process, int status, uint32_t timeout,
                                          char *text, size_t size);

#endif

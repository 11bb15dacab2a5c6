/*
 * A child process of `adamoe check` as its parent sees it: started, listened to, and given so much time.
 */
#ifndef ADAMOE_CHECK_PROCESS_H
#define ADAMOE_CHECK_PROCESS_H

#include "check/options.h"

#include <jansson.h>
#include <sys/types.h>

/* Zeroed before its first start; `text` is kept for the next one, and freed by its owner. */
typedef struct adamoe_check_process {
    pid_t id; /* 0: none */
    int lines;
    char *text; /* what of a line has come so far */
    size_t length, room;
    double begun, deadline;         /* of its case; seconds of the monotonic clock */
    double delay_then, delay_taken; /* how long it had waited for a processor, and when that was looked at */
    bool hung;
    adamoe_status error; /* what it reported, or what kept its parent from listening */
} adamoe_check_process;

/* Starts this program for `work` (check/child.h) on one kernel, or on all where that is NULL; its clock
 * begins. Errors: processes. */
adamoe_status adamoe_check_process_start(const adamoe_check_options *options, const char *work,
                                         const char *kernel, adamoe_check_process *out);

/* Calls `line` for each whole line that is there now, NULL for one that is not JSON: the kernel wrote into
 * its process's lines. False where there will be no more. */
bool adamoe_check_process_listen(adamoe_check_process *process,
                                 void (*line)(void *context, const json_t *json), void *context);

/* A case begins, and has `timeout` seconds, not counting those in which it waited for a processor. */
void adamoe_check_process_begin(adamoe_check_process *process, uint32_t timeout);
bool adamoe_check_process_is_late(adamoe_check_process *process, uint32_t timeout);

/* Waits for its end and returns the status that waitpid gives. */
int adamoe_check_process_wait(adamoe_check_process *process);

/* "ended by signal 11 (Segmentation fault)", of such a status. */
void adamoe_check_describe_end(int status, char *text, size_t size);

#endif

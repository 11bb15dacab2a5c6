/*
 * The parent's side of `adamoe check`: child processes run the cases, so that what a kernel does to its
 * process is a result like any other. A crash, an illegal instruction or a hang fails the case that was
 * running, and the cases behind it go on in a new child.
 */
#ifndef ADAMOE_CHECK_JOBS_H
#define ADAMOE_CHECK_JOBS_H

#include "check/options.h"
#include "check/run.h"

#include <jansson.h>

/* A kernel, its cases and what came of them; or a plugin that ended the process that
 * loaded it, or a command that brought nothing: one failed result. */
typedef struct adamoe_kernel_check {
    char *name;
    char *why_not; /* the kernel cannot run here, and has no results; or NULL */
    bool not_loaded;
    size_t command;               /* which of them brings it, or ADAMOE_NO_COMMAND */
    json_t *not_tried;            /* texts (check/not_tried.h); NULL where it was not loaded */
    char **cases;                 /* [count] names */
    adamoe_check_result *results; /* [count] */
    size_t count;
    /* how it went so far */
    size_t done, crashes, hangs;
    bool stopped; /* a case failed, and its others are not wanted then */
} adamoe_kernel_check;

typedef struct adamoe_kernel_checks {
    adamoe_kernel_check *kernel; /* [count] */
    size_t count;
    bool plugin_failed; /* then it is the first of them */
} adamoe_kernel_checks;

/* All kernels with the cases that were asked for, and their results not yet there. A plugin that ends the
 * process that loads it is a failed result, and so is a command that does not bring kernels, whatever it does instead. Errors: a plugin that the registry refuses (its own status),
 * memory, processes. */
adamoe_status adamoe_check_list(const adamoe_check_options *options, adamoe_kernel_checks *out);
/* Takes kernel i out of the list. */
void adamoe_check_list_drop(adamoe_kernel_checks *checks, size_t i);
void adamoe_check_list_free(adamoe_kernel_checks *checks);

/* Runs everything. `ended` is called after each case, in the parent. Errors: memory, processes; what a child
 * reports that is not the kernel's fault. */
adamoe_status adamoe_check_run_all(const adamoe_check_options *options, adamoe_kernel_checks *checks,
                                   void (*ended)(void *context, const adamoe_kernel_check *check, size_t i),
                                   void *context);

#endif

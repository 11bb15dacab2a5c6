/*
 * What the files of a remote share; not for others.
 */
#ifndef ADAMOE_REMOTE_LINK_H
#define ADAMOE_REMOTE_LINK_H

#include "remote/announcement.h"
#include "remote/clock.h"
#include "remote/process.h"
#include "remote/region.h"
#include "remote/slots.h"

#include <jansson.h>
#include <pthread.h>

typedef struct adamoe_remote remote_link;

typedef struct remote_kernel {
    adamoe_kernel kernel;
    adamoe_announced announced;
    remote_link *link;
    adamoe_remote_clock clock;
} remote_kernel;

struct adamoe_remote {
    const char *command;
    unsigned seconds; /* to announce its kernels */
    adamoe_remote_process process;
    uint64_t generation;  /* how often the process was started: what was prepared in an earlier one is lost */
    uint64_t objects;     /* prepared so far; their numbers are unique over all generations */
    json_t *announcement; /* the first one; texts of kernels belong to it */
    remote_kernel *kernel; /* [count] */
    size_t count;
    pthread_mutex_t mutex; /* one conversation at a time */

    adamoe_remote_region inputs, outputs; /* of calls; made larger where one does not fit */
    uint64_t known;                       /* the generation that was sent them; 0: none */
    adamoe_status broken;                 /* what went wrong where nobody could be told; else OK */
    char message[ADAMOE_REMOTE_MESSAGE + 1];
};

/* Starts the process and takes its first message; the caller's reference. Errors: those of adamoe_remote_open. */
adamoe_status remote_link_start(remote_link *link, json_t **message);

/* A process that runs, started anew where it has ended. Errors: what went wrong when nobody could be told. */
adamoe_status remote_link_be_alive(remote_link *link);

#endif

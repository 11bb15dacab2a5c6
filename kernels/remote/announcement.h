/*
 * What a process says that it brings: a message of kernels/remote/README.md, read and judged.
 */
#ifndef ADAMOE_REMOTE_ANNOUNCEMENT_H
#define ADAMOE_REMOTE_ANNOUNCEMENT_H

#include "adamoe.h"

#include <jansson.h>

/* Version of the protocol. */
#define ADAMOE_REMOTE_VERSION 1

/* Names of adamoe_arithmetic in messages. */
#define ADAMOE_REMOTE_ARITHMETICS 5
extern const char *const adamoe_remote_arithmetic_names[ADAMOE_REMOTE_ARITHMETICS];

/* Names of adamoe_dtype; NULL for those that no weights have. */
#define ADAMOE_REMOTE_DTYPES 3
extern const char *const adamoe_remote_dtype_names[ADAMOE_REMOTE_DTYPES];

/* One kernel; its texts belong to the announcement. */
typedef struct adamoe_announced {
    adamoe_kernel declared; /* no function is set */
    const char *why_not;    /* NULL: it runs here */
    const char *implementation;
    unsigned dtypes; /* of stored weights that it takes: bits by adamoe_dtype */
} adamoe_announced;

/* The list of kernels, which is not empty; a part of `message`. Errors: BAD_INPUT, without the name of the process. */
adamoe_status adamoe_read_announcement(const json_t *message, const json_t **kernels);
adamoe_status adamoe_read_announced(const json_t *kernel, adamoe_announced *out);

#endif

/*
 * Other engines beside ours: a file that lists kernels of other processes, one a line, and what their times are set
 * against. They come as every --command does (kernels/remote/README.md), and take their turns in the same groups.
 */
#ifndef ADAMOE_BENCH_PEERS_H
#define ADAMOE_BENCH_PEERS_H

#include "registry.h"
#include "timing/group.h"

/* The most that a file may list. */
#define ADAMOE_MOST_PEERS 32

typedef struct adamoe_peer {
    char *name, *command;
    size_t line;                 /* of the file */
    const adamoe_kernel *kernel; /* once it is loaded */
    char version[128];           /* what its process announces of itself */
} adamoe_peer;

typedef struct adamoe_peers {
    const char *path;
    adamoe_peer peer[ADAMOE_MOST_PEERS]; /* [count] */
    size_t count;
} adamoe_peers;

/* Reads a file of lines `NAME COMMAND`: the kernel, and what the shell is to start, in the working folder, for the process
 * that announces it. Lines that are empty or begin with # are left out. `path` must outlive *out. Errors, with the file
 * and the line: BAD_INPUT for a file that is not there, a line without a command or with a NUL, a name that is given
 * twice, more than ADAMOE_MOST_PEERS, and for none at all; ENVIRONMENT where it cannot be read. On failure nothing is
 * left to be freed. */
adamoe_status adamoe_peers_read(const char *path, adamoe_peers *out);
void adamoe_peers_free(adamoe_peers *peers);

/* Starts each command once, and finds the kernels. Errors, with the file and the line: those of adamoe_registry_run; a
 * name that its command does not announce, or one without a version (BAD_INPUT). */
adamoe_status adamoe_peers_load(adamoe_peers *peers, adamoe_registry *registry);

/* A peer against the best of ours: the one with the least median time of those whose weights have the same type, or of
 * all where there is none. */
typedef struct adamoe_against {
    const adamoe_bench_member *best; /* NULL: no peer, or there is nothing to set it against */
    adamoe_estimate speed;           /* the best one's time over the peer's, repetition by repetition */
} adamoe_against;

/* `peers` may be NULL. out is [count]. Errors: memory. */
adamoe_status adamoe_peers_against(const adamoe_peers *peers, const adamoe_bench_member *member, size_t count,
                                   size_t repetitions, adamoe_against *out);

/* The peer of a kernel, or NULL. */
const adamoe_peer *adamoe_peer_of(const adamoe_peers *peers, const adamoe_kernel *kernel);

#endif

/*
 * The ranks of a run: processes that each have a part of the questions and a part of the experts, and send
 * each other messages. A process alone is a world of one rank, which is the normal case; who computes over
 * ranks asks nothing but this header how many there are.
 *
 * Left out: how messages travel (mpi_module.h), what they mean (sharded.h).
 */
#ifndef ADAMOE_MPI_WORLD_H
#define ADAMOE_MPI_WORLD_H

#include "adamoe.h"

/* A message on its way. */
typedef struct adamoe_message {
    uint64_t id; /* the transport's own */
    uint32_t peer;
    bool done;
} adamoe_message;

/* The longest message, in bytes. */
#define ADAMOE_LONGEST_MESSAGE ((size_t)INT32_MAX)

/* Tags below this are free. */
#define ADAMOE_TAGS 4096

/* Messages of one pair of ranks with one tag arrive in the order in which they were sent. `data` must stay
 * until the message is done. A transport is used by one thread at a time. */
typedef struct adamoe_world {
    void *state;
    uint32_t rank, ranks;
    adamoe_status (*send)(void *state, uint32_t to, uint32_t tag, const void *data, size_t bytes,
                          adamoe_message *out);
    adamoe_status (*receive)(void *state, uint32_t from, uint32_t tag, void *data, size_t bytes,
                             adamoe_message *out);
    /* Sets message->done where it has arrived or left, without waiting. An error where less or more came
     * than was expected, or where another rank has been silent for too long: it names that rank. Where another
     * rank has failed it is that rank's own error. */
    adamoe_status (*test)(void *state, adamoe_message *message);
    /* Tells the other ranks what ended this one: their next test returns it. */
    void (*tell)(void *state, const adamoe_status *status);
} adamoe_world;

/* The world of a process alone. */
extern const adamoe_world adamoe_alone;

/* Returns when all are done; does not burn the processor for longer than messages usually take. Errors:
 * those of test. */
adamoe_status adamoe_world_wait(const adamoe_world *world, adamoe_message *messages, size_t count);

/* Rank 0 receives `bytes` bytes of every rank in the order of ranks, its own among them: into all [ranks *
 * bytes], which the others need not have. Errors: as of test. */
adamoe_status adamoe_world_gather(const adamoe_world *world, const void *own, size_t bytes, void *all);

/* Everybody receives what rank 0 has. */
adamoe_status adamoe_world_broadcast(const adamoe_world *world, void *data, size_t bytes);

/* Returns when all ranks have called it. */
adamoe_status adamoe_world_barrier(const adamoe_world *world);

/* The error of a rank, after everybody has come here: that of the lowest rank that has one, on all ranks,
 * as its code and its message, which names that rank if it is not rank 0. So what one of them refuses at the
 * start ends all, and is said once. */
adamoe_status adamoe_world_agree(const adamoe_world *world, adamoe_status own);

#endif

/*
 * One exchange of the sharded kernel, in the middle of its course: what the files of it share; not for others. A rank plays
 * two parts in it at once: exchange_home.c is one, exchange_owner.c the other, exchange.c the course of both.
 */
#ifndef ADAMOE_MPI_EXCHANGE_PARTS_H
#define ADAMOE_MPI_EXCHANGE_PARTS_H

#include "mpi/polling_team.h"
#include "mpi/sharded_parts.h"

enum { TAG_HEAD, TAG_INDEX, TAG_INPUTS, TAG_OUTPUTS }; /* outputs of chunk c: TAG_OUTPUTS + c */

#define REQUEST_MAGIC UINT32_C(0x4f4d6441) /* "AdMO" */

typedef struct request_head {
    uint32_t magic, layer;
    uint64_t call;
    uint32_t rows, inputs;
    uint64_t assignment; /* hash of rank_of_expert */
} request_head;

_Static_assert(sizeof(request_head) == ADAMOE_REQUEST_HEAD, "as volume.h counts it");

/* What this rank has with another one. */
typedef struct peer {
    request_head asks, serves;                     /* what this rank wants, and what the other one does */
    size_t first_output;                           /* of its outputs among those of this rank's tokens */
    size_t first_index, first_input;               /* of what it is sent, in numbers and in rows of x */
    size_t first_served_index, first_served_input; /* of what it sent */
} peer;

typedef struct messages {
    adamoe_message *message;
    size_t count;
} messages;

typedef struct exchange {
    const sharded_layer *layer;
    adamoe_sharded *sharded;
    const adamoe_world *world;
    const adamoe_run *run;
    const adamoe_plan *plan;
    const float *x;
    float *y;
    adamoe_wire wire;
    peer *peer; /* [ranks] */
    messages out, heads_in, requests_in, outputs_in;
    adamoe_polling_team polling;
    bool asked;           /* all heads are there, and what follows them is being received */
    adamoe_status failed; /* what a poll met */
    size_t served_rows, served_inputs;
} exchange;

/* ----------------------------------------------------------------------------------------------- messages */

/* A message longer than the longest is an error that says so. */
adamoe_status exchange_send(exchange *e, uint32_t to, uint32_t tag, const void *data, size_t bytes);
adamoe_status exchange_receive(exchange *e, messages *group, uint32_t from, uint32_t tag, void *data,
                               size_t bytes);
adamoe_status exchange_wait(exchange *e, messages *group);

/* The rank `step` behind this one: each begins there, so that not all write to the first. */
static inline uint32_t exchange_after(const exchange *e, uint32_t step)
{
    return (e->world->rank + step) % e->world->ranks;
}

/* ------------------------------------------------------------------------------------------------- chunks */

uint32_t exchange_chunks(const exchange *e, uint32_t owner);

/* The first of its experts that is not before chunk c. */
size_t exchange_chunk_begin(const exchange *e, uint32_t owner, uint32_t c);

/* Rows of a request in one chunk, from its counts. */
size_t exchange_chunk_rows(const exchange *e, uint32_t owner, const uint32_t *count, uint32_t c);

/* ----------------------------------------------------------------------------------------------- the parts */

/* Of rank_of_expert: what head.assignment is. */
uint64_t exchange_hash(const sharded_layer *layer);

/* sharded_compute, its seconds counted, messages looked after. */
adamoe_status exchange_compute(exchange *e, const float *x, const adamoe_plan *plan, float *y);

/* As a home: sends the requests, and awaits what comes back; computes the rows that this rank needs of itself; sums. */
adamoe_status exchange_ask(exchange *e);
adamoe_status exchange_compute_kept(exchange *e);
adamoe_status exchange_sum_up(exchange *e);

/* As an owner: checks all heads, which have come, and receives what follows them; and all of what an owner does. */
adamoe_status exchange_receive_requests(exchange *e);
adamoe_status exchange_serve(exchange *e);

#endif

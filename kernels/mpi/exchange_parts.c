/*
 * What both parts of an exchange do: messages, chunks, arithmetic. See exchange_parts.h.
 */
#include "mpi/exchange_parts.h"
#include "fnv1a.h"
#include "machine/clock.h"

/* ----------------------------------------------------------------------------------------------- messages */

adamoe_status exchange_send(exchange *e, uint32_t to, uint32_t tag, const void *data, size_t bytes)
{
    if (bytes > ADAMOE_LONGEST_MESSAGE) {
        return adamoe_error(
            ADAMOE_NOT_SUPPORTED,
            "rows for rank %u: a message of %zu bytes; fewer tokens at a time make it smaller", to, bytes);
    }
    e->sharded->counters.bytes_sent += bytes;
    return e->world->send(e->world->state, to, tag, data, bytes, &e->out.message[e->out.count++]);
}

adamoe_status exchange_receive(exchange *e, messages *group, uint32_t from, uint32_t tag, void *data,
                               size_t bytes)
{
    if (bytes > ADAMOE_LONGEST_MESSAGE) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED,
                            "rows of rank %u: a message of %zu bytes; fewer tokens at a time make it smaller",
                            from, bytes);
    }
    e->sharded->counters.bytes_received += bytes;
    return e->world->receive(e->world->state, from, tag, data, bytes, &group->message[group->count++]);
}

adamoe_status exchange_wait(exchange *e, messages *group)
{
    const double start = adamoe_now();
    const adamoe_status status = adamoe_world_wait(e->world, group->message, group->count);
    e->sharded->counters.waiting += adamoe_now() - start;
    return status;
}

/* ------------------------------------------------------------------------------------------------- chunks */

uint32_t exchange_chunks(const exchange *e, uint32_t owner)
{
    const uint32_t experts = e->layer->owned[owner], wanted = e->sharded->options.chunks;
    return experts < wanted ? experts : wanted;
}

size_t exchange_chunk_begin(const exchange *e, uint32_t owner, uint32_t c)
{
    return (size_t)e->layer->owned[owner] * c / exchange_chunks(e, owner);
}

size_t exchange_chunk_rows(const exchange *e, uint32_t owner, const uint32_t *count, uint32_t c)
{
    size_t rows = 0;
    for (size_t i = exchange_chunk_begin(e, owner, c); i < exchange_chunk_begin(e, owner, c + 1); ++i) {
        rows += count[i];
    }
    return rows;
}

/* --------------------------------------------------------------------------------------------- arithmetic */

uint64_t exchange_hash(const sharded_layer *layer)
{
    uint64_t hash = ADAMOE_FNV1A_START;
    for (size_t e = 0; e < layer->experts; ++e) {
        hash = adamoe_fnv1a_mix(hash, layer->rank_of_expert[e]);
    }
    return hash;
}

adamoe_status exchange_compute(exchange *e, const float *x, const adamoe_plan *plan, float *y)
{
    const double start = adamoe_now();
    const adamoe_status status = sharded_compute(e->layer, &e->polling.team, x, plan, y);
    e->sharded->counters.arithmetic += adamoe_now() - start;
    return status;
}

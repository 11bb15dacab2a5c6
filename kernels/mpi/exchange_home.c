/*
 * One exchange as a home: what this rank's tokens want of every owner's experts is sent there, the outputs come back, and
 * all are summed here. See exchange_parts.h.
 */
#include "mpi/exchange_parts.h"
#include "machine/clock.h"
#include "numbers.h"

#include <string.h>

/* How many rows and inputs go where, and where outputs will stand: those of this rank first, then owner by
 * owner. */
static adamoe_status count_requests(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    const adamoe_plan *plan = e->plan;
    const uint32_t ranks = e->world->ranks, own = e->world->rank;
    ADAMOE_TRY(sharded_reserve(&s->seen, (plan->inputs + 1) * sizeof(uint32_t)));
    ADAMOE_TRY(sharded_reserve(&s->peers, ranks * sizeof(peer)));
    e->peer = s->peers.data;
    memset(e->peer, 0, ranks * sizeof *e->peer);
    for (size_t x = 0; x < plan->experts; ++x) {
        e->peer[e->layer->rank_of_expert[x]].asks.rows += plan->offset[x + 1] - plan->offset[x];
    }
    size_t at = e->peer[own].asks.rows;
    for (uint32_t d = 0; d < ranks; ++d) {
        e->peer[d].first_output = d == own ? 0 : at;
        at += d == own ? 0 : e->peer[d].asks.rows;
    }
    return adamoe_ok();
}

/* Where the output of each row of the plan stands, and the plan's places in that order. */
static adamoe_status place_outputs(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    const adamoe_plan *plan = e->plan;
    const size_t places = plan->token_offset[plan->tokens];
    ADAMOE_TRY(sharded_reserve(&s->at, (plan->rows + 1) * sizeof(uint32_t)));
    ADAMOE_TRY(sharded_reserve(&s->place, (places + 1) * sizeof(uint32_t)));
    uint32_t *at = s->at.data, *place = s->place.data;
    for (size_t x = 0; x < plan->experts; ++x) {
        size_t *next = &e->peer[e->layer->rank_of_expert[x]].first_output;
        for (size_t r = plan->offset[x]; r < plan->offset[x + 1]; ++r) {
            at[r] = (uint32_t)(*next)++;
        }
    }
    for (uint32_t d = 0; d < e->world->ranks; ++d) {
        e->peer[d].first_output -= e->peer[d].asks.rows;
    }
    for (size_t i = 0; i < places; ++i) {
        place[i] = at[plan->token_row[i]];
    }
    return adamoe_ok();
}

/* Writes the rows of an owner into `index`, and gives each input its number: `from` receives the row of x
 * of each. */
static void list_rows(exchange *e, uint32_t owner, uint32_t *index, uint32_t *from, uint32_t *seen)
{
    const adamoe_plan *plan = e->plan;
    uint32_t *count = index, *input = index + e->layer->owned[owner];
    uint32_t inputs = 0;
    for (size_t x = 0; x < plan->experts; ++x) {
        if (e->layer->rank_of_expert[x] != owner) {
            continue;
        }
        *count++ = plan->offset[x + 1] - plan->offset[x];
        for (size_t r = plan->offset[x]; r < plan->offset[x + 1]; ++r) {
            const uint32_t row = plan->input[r];
            if (plan->dispatch != NULL) {
                from[inputs] = (uint32_t)r;
                *input++ = inputs++;
                continue;
            }
            if (seen[row] == UINT32_MAX) {
                from[inputs] = row;
                seen[row] = inputs++;
            }
            *input++ = seen[row];
        }
    }
    for (uint32_t i = 0; i < inputs && plan->dispatch == NULL; ++i) {
        seen[from[i]] = UINT32_MAX;
    }
    e->peer[owner].asks.inputs = inputs;
}

typedef struct pack_call {
    const exchange *exchange;
    const uint32_t *from;
    unsigned char *to;
} pack_call;

/* One input as it travels: scaled, then rounded, as the kernel would do it there. */
static void pack_input(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const pack_call *call = context;
    const exchange *e = call->exchange;
    const adamoe_plan *plan = e->plan;
    const size_t d = e->wire.hidden_size;
    const bool scaled = plan->dispatch != NULL;
    const float *x = e->x + (scaled ? plan->input[call->from[i]] : call->from[i]) * d;
    const float scale = scaled ? plan->dispatch[call->from[i]] : 1.0f;
    unsigned char *to = call->to + i * d * e->wire.input_bytes;
    if (e->wire.input_bytes == sizeof(float) && !scaled) {
        memcpy(to, x, d * sizeof(float));
        return;
    }
    for (size_t j = 0; j < d; ++j) {
        const float value = scaled ? scale * x[j] : x[j];
        if (e->wire.input_bytes == sizeof(float)) {
            memcpy(to + j * sizeof value, &value, sizeof value);
        } else {
            const uint16_t bits = adamoe_float_to_bf16(value);
            memcpy(to + j * sizeof bits, &bits, sizeof bits);
        }
    }
}

/* Room for what is sent: numbers, the sources of inputs behind them, and inputs. */
static adamoe_status make_room(exchange *e, size_t *numbers)
{
    adamoe_sharded *s = e->sharded;
    size_t index = 0, rows = 0;
    for (uint32_t d = 0; d < e->world->ranks; ++d) {
        peer *p = &e->peer[d];
        if (d != e->world->rank && p->asks.rows > 0) {
            p->first_index = index;
            p->first_input = rows;
            index += e->layer->owned[d] + p->asks.rows;
            rows += p->asks.rows;
        }
    }
    *numbers = index;
    ADAMOE_TRY(sharded_reserve(&s->index_out, (index + rows + 1) * sizeof(uint32_t)));
    ADAMOE_TRY(sharded_reserve(&s->inputs_out, (rows * e->wire.hidden_size + 1) * e->wire.input_bytes));
    memset(s->seen.data, 0xff, e->plan->inputs * sizeof(uint32_t));
    return adamoe_ok();
}

static adamoe_status send_request(exchange *e, uint32_t owner, size_t numbers)
{
    adamoe_sharded *s = e->sharded;
    peer *p = &e->peer[owner];
    uint32_t *index = s->index_out.data, *from = index + numbers + p->first_input;
    unsigned char *inputs =
        (unsigned char *)s->inputs_out.data + p->first_input * e->wire.hidden_size * e->wire.input_bytes;
    p->asks.magic = REQUEST_MAGIC;
    p->asks.layer = (uint32_t)e->layer->layer;
    p->asks.call = s->calls;
    p->asks.assignment = exchange_hash(e->layer);
    if (p->asks.rows > 0) {
        list_rows(e, owner, index + p->first_index, from, s->seen.data);
    }
    ADAMOE_TRY(exchange_send(e, owner, TAG_HEAD, &p->asks, sizeof p->asks));
    if (p->asks.rows == 0) {
        return adamoe_ok();
    }
    pack_call call = {e, from, inputs};
    e->run->team->run(e->run->team->state, p->asks.inputs, pack_input, &call);
    ADAMOE_TRY(exchange_send(e, owner, TAG_INDEX, index + p->first_index,
                             (e->layer->owned[owner] + p->asks.rows) * sizeof *index));
    s->counters.inputs_sent += p->asks.inputs;
    return exchange_send(e, owner, TAG_INPUTS, inputs,
                         p->asks.inputs * e->wire.hidden_size * e->wire.input_bytes);
}

static adamoe_status receive_outputs(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    const size_t d = e->wire.hidden_size;
    ADAMOE_TRY(sharded_reserve(&s->outputs, (e->plan->rows * d + 1) * sizeof(float)));
    for (uint32_t step = 1; step < e->world->ranks; ++step) {
        const uint32_t owner = exchange_after(e, step);
        const peer *p = &e->peer[owner];
        const uint32_t *count = (const uint32_t *)s->index_out.data + p->first_index;
        float *to = (float *)s->outputs.data + p->first_output * d;
        for (uint32_t c = 0; p->asks.rows > 0 && c < exchange_chunks(e, owner); ++c) {
            const size_t rows = exchange_chunk_rows(e, owner, count, c);
            if (rows > 0) {
                ADAMOE_TRY(
                    exchange_receive(e, &e->outputs_in, owner, TAG_OUTPUTS + c, to, rows * d * sizeof *to));
            }
            to += rows * d;
        }
    }
    return adamoe_ok();
}

adamoe_status exchange_ask(exchange *e)
{
    ADAMOE_TRY(count_requests(e));
    ADAMOE_TRY(place_outputs(e));
    size_t numbers = 0;
    ADAMOE_TRY(make_room(e, &numbers));
    for (uint32_t step = 1; step < e->world->ranks; ++step) {
        const uint32_t other = exchange_after(e, step);
        ADAMOE_TRY(
            exchange_receive(e, &e->heads_in, other, TAG_HEAD, &e->peer[other].serves, sizeof(request_head)));
    }
    for (uint32_t step = 1; step < e->world->ranks; ++step) {
        ADAMOE_TRY(send_request(e, exchange_after(e, step), numbers));
    }
    return receive_outputs(e);
}

/* Rows that this rank needs of itself. */
adamoe_status exchange_compute_kept(exchange *e)
{
    const adamoe_plan *plan = e->plan;
    const uint32_t own = e->world->rank;
    sharded_rows *kept = &e->sharded->kept;
    if (e->peer[own].asks.rows == 0) {
        return adamoe_ok();
    }
    ADAMOE_TRY(
        sharded_rows_begin(kept, e->layer->owned[own], e->peer[own].asks.rows, plan->dispatch != NULL));
    for (size_t x = 0; x < plan->experts; ++x) {
        for (size_t r = plan->offset[x]; e->layer->rank_of_expert[x] == own && r < plan->offset[x + 1]; ++r) {
            if (plan->dispatch != NULL) {
                kept->dispatch[kept->plan.rows] = plan->dispatch[r];
            }
            sharded_rows_add(kept, e->layer->local[x], plan->input[r], kept->plan.rows);
        }
    }
    sharded_rows_end(kept, plan->inputs);
    ADAMOE_TRY(exchange_compute(e, e->x, &kept->plan, e->sharded->outputs.data));
    return e->failed;
}

adamoe_status exchange_sum_up(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    adamoe_plan plan = *e->plan;
    plan.token_row = s->place.data;
    const double start = adamoe_now();
    const adamoe_status status =
        sharded_combine(s->inner, e->run, e->wire.hidden_size, e->x, s->outputs.data, &plan, e->y);
    s->counters.arithmetic += adamoe_now() - start;
    return status;
}

/*
 * One exchange of the sharded kernel. A rank plays two parts in it at once. As a home it sends to every
 * owner what its tokens want of that owner's experts, and gets the outputs; as an owner it computes what
 * others want, all homes together, its experts in chunks, and sends each chunk's outputs as soon as they
 * are there. What it needs of itself is computed while the requests travel.
 *
 * A request is three messages: a head; the rows of each expert of the owner, then the input of each row, by
 * expert; the inputs in the order in which rows first need them. Of an empty request there is the head
 * alone. Sizes: volume.h.
 */
#include "mpi/sharded_parts.h"
#include "mpi/polling_team.h"
#include "fnv1a.h"
#include "machine/clock.h"
#include "numbers.h"

#include <string.h>

enum { TAG_HEAD, TAG_INDEX, TAG_INPUTS, TAG_OUTPUTS }; /* outputs of chunk c: TAG_OUTPUTS + c */

#define MAGIC UINT32_C(0x4f4d6441) /* "AdMO" */

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

static adamoe_status send(exchange *e, uint32_t to, uint32_t tag, const void *data, size_t bytes)
{
    if (bytes > ADAMOE_LONGEST_MESSAGE) {
        return adamoe_error(
            ADAMOE_NOT_SUPPORTED,
            "rows for rank %u: a message of %zu bytes; fewer tokens at a time make it smaller", to, bytes);
    }
    e->sharded->counters.bytes_sent += bytes;
    return e->world->send(e->world->state, to, tag, data, bytes, &e->out.message[e->out.count++]);
}

static adamoe_status receive(exchange *e, messages *group, uint32_t from, uint32_t tag, void *data,
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

static adamoe_status wait_for(exchange *e, messages *group)
{
    const double start = adamoe_now();
    const adamoe_status status = adamoe_world_wait(e->world, group->message, group->count);
    e->sharded->counters.waiting += adamoe_now() - start;
    return status;
}

/* ------------------------------------------------------------------------------------------------- chunks */

static uint32_t chunks_of(const exchange *e, uint32_t owner)
{
    const uint32_t experts = e->layer->owned[owner], wanted = e->sharded->options.chunks;
    return experts < wanted ? experts : wanted;
}

/* The first of its experts that is not before chunk c. */
static size_t chunk_begin(const exchange *e, uint32_t owner, uint32_t c)
{
    return (size_t)e->layer->owned[owner] * c / chunks_of(e, owner);
}

/* Rows of a request in one chunk, from its counts. */
static size_t chunk_rows(const exchange *e, uint32_t owner, const uint32_t *count, uint32_t c)
{
    size_t rows = 0;
    for (size_t i = chunk_begin(e, owner, c); i < chunk_begin(e, owner, c + 1); ++i) {
        rows += count[i];
    }
    return rows;
}

/* --------------------------------------------------------------------------------------------- as a home */

static uint64_t hash_assignment(const sharded_layer *layer)
{
    uint64_t hash = ADAMOE_FNV1A_START;
    for (size_t e = 0; e < layer->experts; ++e) {
        hash = adamoe_fnv1a_mix(hash, layer->rank_of_expert[e]);
    }
    return hash;
}

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
    p->asks.magic = MAGIC;
    p->asks.layer = (uint32_t)e->layer->layer;
    p->asks.call = s->calls;
    p->asks.assignment = hash_assignment(e->layer);
    if (p->asks.rows > 0) {
        list_rows(e, owner, index + p->first_index, from, s->seen.data);
    }
    ADAMOE_TRY(send(e, owner, TAG_HEAD, &p->asks, sizeof p->asks));
    if (p->asks.rows == 0) {
        return adamoe_ok();
    }
    pack_call call = {e, from, inputs};
    e->run->team->run(e->run->team->state, p->asks.inputs, pack_input, &call);
    ADAMOE_TRY(send(e, owner, TAG_INDEX, index + p->first_index,
                    (e->layer->owned[owner] + p->asks.rows) * sizeof *index));
    s->counters.inputs_sent += p->asks.inputs;
    return send(e, owner, TAG_INPUTS, inputs, p->asks.inputs * e->wire.hidden_size * e->wire.input_bytes);
}

/* Each rank begins with the one behind it, so that not all write to the first. */
static uint32_t after(const exchange *e, uint32_t step)
{
    return (e->world->rank + step) % e->world->ranks;
}

static adamoe_status receive_outputs(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    const size_t d = e->wire.hidden_size;
    ADAMOE_TRY(sharded_reserve(&s->outputs, (e->plan->rows * d + 1) * sizeof(float)));
    for (uint32_t step = 1; step < e->world->ranks; ++step) {
        const uint32_t owner = after(e, step);
        const peer *p = &e->peer[owner];
        const uint32_t *count = (const uint32_t *)s->index_out.data + p->first_index;
        float *to = (float *)s->outputs.data + p->first_output * d;
        for (uint32_t c = 0; p->asks.rows > 0 && c < chunks_of(e, owner); ++c) {
            const size_t rows = chunk_rows(e, owner, count, c);
            if (rows > 0) {
                ADAMOE_TRY(receive(e, &e->outputs_in, owner, TAG_OUTPUTS + c, to, rows * d * sizeof *to));
            }
            to += rows * d;
        }
    }
    return adamoe_ok();
}

static adamoe_status ask(exchange *e)
{
    ADAMOE_TRY(count_requests(e));
    ADAMOE_TRY(place_outputs(e));
    size_t numbers = 0;
    ADAMOE_TRY(make_room(e, &numbers));
    for (uint32_t step = 1; step < e->world->ranks; ++step) {
        const uint32_t other = after(e, step);
        ADAMOE_TRY(receive(e, &e->heads_in, other, TAG_HEAD, &e->peer[other].serves, sizeof(request_head)));
    }
    for (uint32_t step = 1; step < e->world->ranks; ++step) {
        ADAMOE_TRY(send_request(e, after(e, step), numbers));
    }
    return receive_outputs(e);
}

/* ------------------------------------------------------------------------------------------- as an owner */

static adamoe_status rubbish(uint32_t from, const char *what)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "rank %u sent what is no request: %s", from, what);
}

static adamoe_status check_head(const exchange *e, uint32_t from)
{
    const request_head *head = &e->peer[from].serves;
    if (head->magic != MAGIC) {
        return rubbish(from, "another beginning");
    }
    if (head->layer != e->layer->layer || head->call != e->sharded->calls) {
        return adamoe_error(ADAMOE_ENVIRONMENT,
                            "rank %u is at layer %u of call %llu, this rank at layer %zu of call %llu", from,
                            head->layer, (unsigned long long)head->call, e->layer->layer,
                            (unsigned long long)e->sharded->calls);
    }
    if (head->assignment != hash_assignment(e->layer)) {
        return rubbish(from, "its experts live on other ranks");
    }
    return head->inputs > head->rows || (head->inputs == 0) != (head->rows == 0) ||
                   (head->rows > 0 && e->layer->owned[e->world->rank] == 0)
               ? rubbish(from, "numbers of rows and inputs that do not go together")
               : adamoe_ok();
}

/* After all heads. */
static adamoe_status receive_requests(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    const uint32_t ranks = e->world->ranks, own = e->world->rank;
    size_t index = 0;
    for (uint32_t r = 0; r < ranks; ++r) {
        peer *p = &e->peer[r];
        if (r == own) {
            continue;
        }
        ADAMOE_TRY(check_head(e, r));
        p->first_served_index = index;
        p->first_served_input = e->served_inputs;
        index += p->serves.rows == 0 ? 0 : e->layer->owned[own] + p->serves.rows;
        e->served_inputs += p->serves.inputs;
        e->served_rows += p->serves.rows;
    }
    const size_t d = e->wire.hidden_size;
    ADAMOE_TRY(sharded_reserve(&s->index_in, (index + 1) * sizeof(uint32_t)));
    ADAMOE_TRY(sharded_reserve(&s->inputs_in, (e->served_inputs * d + 1) * e->wire.input_bytes));
    for (uint32_t step = 1; step < ranks; ++step) {
        const uint32_t from = after(e, step);
        const peer *p = &e->peer[from];
        if (p->serves.rows > 0) {
            ADAMOE_TRY(receive(e, &e->requests_in, from, TAG_INDEX,
                               (uint32_t *)s->index_in.data + p->first_served_index,
                               (e->layer->owned[own] + p->serves.rows) * sizeof(uint32_t)));
            ADAMOE_TRY(
                receive(e, &e->requests_in, from, TAG_INPUTS,
                        (unsigned char *)s->inputs_in.data + p->first_served_input * d * e->wire.input_bytes,
                        p->serves.inputs * d * e->wire.input_bytes));
        }
    }
    e->asked = true;
    return adamoe_ok();
}

/* Looks after messages while something else is computed. */
static void poll(void *context)
{
    exchange *e = context;
    messages *const group = e->asked ? &e->requests_in : &e->heads_in;
    bool all = true;
    for (size_t i = 0; i < group->count && e->failed.code == ADAMOE_OK; ++i) {
        if (!group->message[i].done) {
            e->failed = e->world->test(e->world->state, &group->message[i]);
            all = all && group->message[i].done;
        }
    }
    if (all && !e->asked && e->failed.code == ADAMOE_OK) {
        e->failed = receive_requests(e);
    }
}

static const uint32_t *counts_of(const exchange *e, uint32_t from)
{
    return (const uint32_t *)e->sharded->index_in.data + e->peer[from].first_served_index;
}

static adamoe_status check_request(const exchange *e, uint32_t from)
{
    const request_head *head = &e->peer[from].serves;
    const uint32_t experts = e->layer->owned[e->world->rank];
    const uint32_t *count = counts_of(e, from), *input = count + experts;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < experts; ++i) {
        rows += count[i];
    }
    if (rows != head->rows) {
        return rubbish(from, "the rows of its experts do not add up");
    }
    for (uint32_t i = 0; i < head->rows; ++i) {
        if (input[i] >= head->inputs) {
            return rubbish(from, "a row without an input");
        }
    }
    return adamoe_ok();
}

static void widen_input(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const exchange *e = context;
    const size_t d = e->wire.hidden_size;
    const unsigned char *from = (const unsigned char *)e->sharded->inputs_in.data + i * d * sizeof(uint16_t);
    float *to = (float *)e->sharded->wide.data + i * d;
    for (size_t j = 0; j < d; ++j) {
        to[j] = adamoe_element(from, ADAMOE_BF16, j);
    }
}

/* The inputs that came, as floats. */
static adamoe_status take_inputs(exchange *e, const float **x)
{
    adamoe_sharded *s = e->sharded;
    for (uint32_t r = 0; r < e->world->ranks; ++r) {
        if (r != e->world->rank && e->peer[r].serves.rows > 0) {
            ADAMOE_TRY(check_request(e, r));
        }
    }
    *x = s->inputs_in.data;
    if (e->wire.input_bytes != sizeof(float)) {
        ADAMOE_TRY(sharded_reserve(&s->wide, (e->served_inputs * e->wire.hidden_size + 1) * sizeof(float)));
        e->run->team->run(e->run->team->state, e->served_inputs, widen_input, e);
        *x = s->wide.data;
    }
    return adamoe_ok();
}

/* The rows of the other ranks in one chunk: by expert, and for each by rank; their outputs by rank, and for
 * each by expert, as they are sent. */
static adamoe_status plan_chunk(exchange *e, uint32_t c)
{
    sharded_rows *rows = &e->sharded->served;
    const uint32_t ranks = e->world->ranks, own = e->world->rank;
    const size_t begin = chunk_begin(e, own, c), end = chunk_begin(e, own, c + 1);
    size_t total = 0;
    for (uint32_t r = 0; r < ranks; ++r) {
        total += r != own && e->peer[r].serves.rows > 0 ? chunk_rows(e, own, counts_of(e, r), c) : 0;
    }
    ADAMOE_TRY(sharded_rows_begin(rows, e->layer->owned[own], total, false));
    for (size_t x = begin; x < end; ++x) {
        size_t token = 0;
        for (uint32_t r = 0; r < ranks; ++r) {
            const peer *p = &e->peer[r];
            if (r == own || p->serves.rows == 0) {
                continue;
            }
            const uint32_t *count = counts_of(e, r), *input = count + e->layer->owned[own];
            for (size_t i = 0; i < x; ++i) {
                input += count[i];
                token += i >= begin ? count[i] : 0;
            }
            for (uint32_t i = 0; i < count[x]; ++i) {
                sharded_rows_add(rows, x, (uint32_t)p->first_served_input + input[i], token++);
            }
            for (size_t i = x + 1; i < end; ++i) {
                token += count[i];
            }
        }
    }
    sharded_rows_end(rows, e->served_inputs);
    return adamoe_ok();
}

static adamoe_status compute(exchange *e, const float *x, const adamoe_plan *plan, float *y)
{
    const double start = adamoe_now();
    const adamoe_status status = sharded_compute(e->layer, &e->polling.team, x, plan, y);
    e->sharded->counters.arithmetic += adamoe_now() - start;
    return status;
}

static adamoe_status serve_chunk(exchange *e, const float *x, uint32_t c, float *y, size_t *rows)
{
    const uint32_t own = e->world->rank;
    const size_t d = e->wire.hidden_size;
    ADAMOE_TRY(plan_chunk(e, c));
    *rows = e->sharded->served.plan.rows;
    if (*rows == 0) {
        return adamoe_ok();
    }
    ADAMOE_TRY(compute(e, x, &e->sharded->served.plan, y));
    for (uint32_t r = 0; r < e->world->ranks; ++r) {
        const size_t part =
            r != own && e->peer[r].serves.rows > 0 ? chunk_rows(e, own, counts_of(e, r), c) : 0;
        if (part > 0) {
            ADAMOE_TRY(send(e, r, TAG_OUTPUTS + c, y, part * d * sizeof *y));
            y += part * d;
        }
    }
    return adamoe_ok();
}

static adamoe_status serve(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    if (!e->asked) {
        ADAMOE_TRY(wait_for(e, &e->heads_in));
        ADAMOE_TRY(receive_requests(e));
    }
    ADAMOE_TRY(wait_for(e, &e->requests_in));
    s->counters.rows_served += e->served_rows;
    if (e->served_rows == 0) {
        return adamoe_ok();
    }
    const float *x = NULL;
    ADAMOE_TRY(take_inputs(e, &x));
    ADAMOE_TRY(sharded_reserve(&s->served_outputs, e->served_rows * e->wire.hidden_size * sizeof(float)));
    float *y = s->served_outputs.data;
    for (uint32_t c = 0; c < chunks_of(e, e->world->rank); ++c) {
        size_t rows = 0;
        ADAMOE_TRY(serve_chunk(e, x, c, y, &rows));
        ADAMOE_TRY(e->failed);
        y += rows * e->wire.hidden_size;
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- a call */

/* Rows that this rank needs of itself. */
static adamoe_status compute_kept(exchange *e)
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
    ADAMOE_TRY(compute(e, e->x, &kept->plan, e->sharded->outputs.data));
    return e->failed;
}

static adamoe_status sum_up(exchange *e)
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

static void count_rows(const exchange *e)
{
    adamoe_rank_counters *c = &e->sharded->counters;
    ++c->exchanges;
    c->home_rows += e->plan->rows;
    c->rows_kept += e->peer[e->world->rank].asks.rows;
    c->rows_sent += e->plan->rows - e->peer[e->world->rank].asks.rows;
}

static adamoe_status make_messages(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    const size_t others = e->world->ranks - 1, chunks = s->options.chunks;
    const size_t out = others * (3 + chunks), in = others * chunks;
    ADAMOE_TRY(sharded_reserve(&s->messages, (out + 3 * others + in) * sizeof(adamoe_message)));
    e->out.message = s->messages.data;
    e->heads_in.message = e->out.message + out;
    e->requests_in.message = e->heads_in.message + others;
    e->outputs_in.message = e->requests_in.message + 2 * others;
    return adamoe_ok();
}

static adamoe_status run_exchange(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    ADAMOE_TRY(make_messages(e));
    const double start = adamoe_now();
    ADAMOE_TRY(ask(e));
    count_rows(e);
    if (s->options.overlap) {
        ADAMOE_TRY(compute_kept(e));
        ADAMOE_TRY(serve(e));
    } else {
        ADAMOE_TRY(serve(e));
    }
    ADAMOE_TRY(wait_for(e, &e->outputs_in));
    ADAMOE_TRY(wait_for(e, &e->out));
    s->counters.communication += adamoe_now() - start;
    if (!s->options.overlap) {
        ADAMOE_TRY(compute_kept(e));
    }
    return sum_up(e);
}

adamoe_status sharded_exchange(const sharded_layer *layer, const adamoe_run *run, const float *x,
                               const adamoe_plan *plan, float *y)
{
    adamoe_sharded *s = layer->sharded;
    exchange e = {.layer = layer,
                  .sharded = s,
                  .world = s->options.world,
                  .run = run,
                  .plan = plan,
                  .x = x,
                  .y = y,
                  .wire = adamoe_wire_of(s->inner, layer->hidden_size)};
    const double start = adamoe_now();
    adamoe_polling_team_create(run->team, poll, &e, &e.polling);
    const adamoe_status status = run_exchange(&e);
    s->counters.seconds += adamoe_now() - start;
    ++s->calls;
    return status;
}

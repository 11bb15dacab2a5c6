/*
 * One exchange as an owner: what all homes want of this rank's experts is computed together, the experts in chunks, and each
 * chunk's outputs leave as soon as they are there. See exchange_parts.h.
 */
#include "mpi/exchange_parts.h"
#include "numbers.h"

static adamoe_status rubbish(uint32_t from, const char *what)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "rank %u sent what is no request: %s", from, what);
}

static adamoe_status check_head(const exchange *e, uint32_t from)
{
    const request_head *head = &e->peer[from].serves;
    if (head->magic != REQUEST_MAGIC) {
        return rubbish(from, "another beginning");
    }
    if (head->layer != e->layer->layer || head->call != e->sharded->calls) {
        return adamoe_error(ADAMOE_ENVIRONMENT,
                            "rank %u is at layer %u of call %llu, this rank at layer %zu of call %llu", from,
                            head->layer, (unsigned long long)head->call, e->layer->layer,
                            (unsigned long long)e->sharded->calls);
    }
    if (head->assignment != exchange_hash(e->layer)) {
        return rubbish(from, "its experts live on other ranks");
    }
    return head->inputs > head->rows || (head->inputs == 0) != (head->rows == 0) ||
                   (head->rows > 0 && e->layer->owned[e->world->rank] == 0)
               ? rubbish(from, "numbers of rows and inputs that do not go together")
               : adamoe_ok();
}

/* After all heads. */
adamoe_status exchange_receive_requests(exchange *e)
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
        const uint32_t from = exchange_after(e, step);
        const peer *p = &e->peer[from];
        if (p->serves.rows > 0) {
            ADAMOE_TRY(exchange_receive(e, &e->requests_in, from, TAG_INDEX,
                                        (uint32_t *)s->index_in.data + p->first_served_index,
                                        (e->layer->owned[own] + p->serves.rows) * sizeof(uint32_t)));
            ADAMOE_TRY(exchange_receive(e, &e->requests_in, from, TAG_INPUTS,
                                        (unsigned char *)s->inputs_in.data +
                                            p->first_served_input * d * e->wire.input_bytes,
                                        p->serves.inputs * d * e->wire.input_bytes));
        }
    }
    e->asked = true;
    return adamoe_ok();
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
    const size_t begin = exchange_chunk_begin(e, own, c), end = exchange_chunk_begin(e, own, c + 1);
    size_t total = 0;
    for (uint32_t r = 0; r < ranks; ++r) {
        total += r != own && e->peer[r].serves.rows > 0 ? exchange_chunk_rows(e, own, counts_of(e, r), c) : 0;
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

static adamoe_status serve_chunk(exchange *e, const float *x, uint32_t c, float *y, size_t *rows)
{
    const uint32_t own = e->world->rank;
    const size_t d = e->wire.hidden_size;
    ADAMOE_TRY(plan_chunk(e, c));
    *rows = e->sharded->served.plan.rows;
    if (*rows == 0) {
        return adamoe_ok();
    }
    ADAMOE_TRY(exchange_compute(e, x, &e->sharded->served.plan, y));
    for (uint32_t r = 0; r < e->world->ranks; ++r) {
        const size_t part =
            r != own && e->peer[r].serves.rows > 0 ? exchange_chunk_rows(e, own, counts_of(e, r), c) : 0;
        if (part > 0) {
            ADAMOE_TRY(exchange_send(e, r, TAG_OUTPUTS + c, y, part * d * sizeof *y));
            y += part * d;
        }
    }
    return adamoe_ok();
}

adamoe_status exchange_serve(exchange *e)
{
    adamoe_sharded *s = e->sharded;
    if (!e->asked) {
        ADAMOE_TRY(exchange_wait(e, &e->heads_in));
        ADAMOE_TRY(exchange_receive_requests(e));
    }
    ADAMOE_TRY(exchange_wait(e, &e->requests_in));
    s->counters.rows_served += e->served_rows;
    if (e->served_rows == 0) {
        return adamoe_ok();
    }
    const float *x = NULL;
    ADAMOE_TRY(take_inputs(e, &x));
    ADAMOE_TRY(sharded_reserve(&s->served_outputs, e->served_rows * e->wire.hidden_size * sizeof(float)));
    float *y = s->served_outputs.data;
    for (uint32_t c = 0; c < exchange_chunks(e, e->world->rank); ++c) {
        size_t rows = 0;
        ADAMOE_TRY(serve_chunk(e, x, c, y, &rows));
        ADAMOE_TRY(e->failed);
        y += rows * e->wire.hidden_size;
    }
    return adamoe_ok();
}

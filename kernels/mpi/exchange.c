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
#include "mpi/exchange_parts.h"
#include "machine/clock.h"

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
        e->failed = exchange_receive_requests(e);
    }
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
    ADAMOE_TRY(exchange_ask(e));
    count_rows(e);
    if (s->options.overlap) {
        ADAMOE_TRY(exchange_compute_kept(e));
        ADAMOE_TRY(exchange_serve(e));
    } else {
        ADAMOE_TRY(exchange_serve(e));
    }
    ADAMOE_TRY(exchange_wait(e, &e->outputs_in));
    ADAMOE_TRY(exchange_wait(e, &e->out));
    s->counters.communication += adamoe_now() - start;
    if (!s->options.overlap) {
        ADAMOE_TRY(exchange_compute_kept(e));
    }
    return exchange_sum_up(e);
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

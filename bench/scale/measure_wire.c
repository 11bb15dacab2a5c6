/*
 * Messages between the ranks of this run, timed, and the wire of the cost model fitted to them.
 *
 * They are those of a layer: the exchange of mpi/sharded.h, with experts that compute nothing. So what it makes of the
 * transport is in them, how often it looks after messages and in how many parts outputs leave.
 */
#include "machine/clock.h"
#include "mpi/placement.h"
#include "mpi/sharded.h"
#include "scale/measure.h"
#include "scale/timed_call.h"
#include "statistics/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_TRIP = 100 };

/* -------------------------------------------------------------------------------------------------- fitting */

static double model(const adamoe_cost_network *network, size_t peers, const adamoe_exchange_time *e)
{
    const double request = e->request * (double)peers, result = e->result * (double)peers;
    return adamoe_cost_wire(network, request, request, peers, 1) +
           adamoe_cost_wire(network, result, result, result > 0.0 ? peers : 0, network->chunks);
}

/* Sum of the squares of relative errors. */
static double error_of(const adamoe_cost_network *network, size_t peers, const adamoe_exchange_time *exchange,
                       size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const double error = model(network, peers, &exchange[i]) / exchange[i].seconds - 1.0;
        sum += error * error;
    }
    return sum;
}

/* Least squares of relative errors with latency, overhead and eager as they are: seconds of a byte, and rendezvous. */
static void fit_rates(size_t peers, const adamoe_exchange_time *exchange, size_t count,
                      adamoe_cost_network *out)
{
    const double base = out->latency + (double)(peers - 1) * out->overhead;
    double bb = 0.0, br = 0.0, rr = 0.0, tb = 0.0, tr = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const adamoe_exchange_time *e = &exchange[i];
        const double t = e->seconds, b = (e->request + e->result) * (double)peers / t;
        const double r = ((e->request > out->eager) + (e->result / out->chunks > out->eager)) / t;
        const double left = 1.0 - (e->result > 0.0 ? 2.0 : 1.0) * base / t;
        bb += b * b;
        br += b * r;
        rr += r * r;
        tb += b * left;
        tr += r * left;
    }
    const double determinant = bb * rr - br * br;
    double slope = determinant > 0.0 ? (tb * rr - tr * br) / determinant : 0.0;
    out->rendezvous = slope > 0.0 ? (tr - slope * br) / rr : 0.0;
    if (!(out->rendezvous > 0.0)) {
        out->rendezvous = 0.0;
        slope = tb / bb;
    }
    out->bandwidth = 1.0 / fmax(slope, 1e-15);
}

void adamoe_fit_wire(double latency, size_t peers, const adamoe_exchange_time *exchange, size_t count,
                     adamoe_cost_network *out)
{
    double size[2 * ADAMOE_EXCHANGE_TIMES], least = (double)INFINITY;
    double shortest = (double)INFINITY; /* a message, or as many as there are ranks to send to */
    for (size_t i = 0; i < count; ++i) {
        shortest = fmin(shortest, exchange[i].seconds / (exchange[i].result > 0.0 ? 2.0 : 1.0));
    }
    out->latency = peers == 1 ? shortest : fmin(latency, shortest);
    out->overhead = peers == 1 ? 0.0 : (shortest - out->latency) / (double)(peers - 1);
    for (size_t i = 0; i < count; ++i) {
        size[2 * i] = fmax(exchange[i].request, 1.0);
        size[2 * i + 1] = fmax(exchange[i].result / out->chunks, 1.0);
    }
    adamoe_sort(size, 2 * count);
    for (size_t i = 2 * count; i > 0; --i) { /* rendezvous begins between two sizes, or beyond the last */
        adamoe_cost_network trial = *out;
        trial.eager = sqrt(size[i - 1] * size[i < 2 * count ? i : 2 * count - 1]);
        fit_rates(peers, exchange, count, &trial);
        const double error = error_of(&trial, peers, exchange, count);
        if (error < least) {
            least = error;
            *out = trial;
        }
    }
}

/* ------------------------------------------------------------------------------------- experts of nothing */

struct adamoe_prepared {
    char nothing;
};

static adamoe_status prepare_nothing(const adamoe_host *host, const adamoe_layer *layer,
                                     const adamoe_placement *placement, adamoe_prepared **out)
{
    (void)host;
    (void)layer;
    (void)placement;
    *out = malloc(sizeof **out);
    return *out == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "exchanges: out of memory") : adamoe_ok();
}

static void release_nothing(adamoe_prepared *p)
{
    free(p);
}

static size_t no_work(const adamoe_prepared *p, size_t rows, size_t tokens)
{
    (void)p;
    (void)rows;
    (void)tokens;
    return 0;
}

static adamoe_status compute_nothing(adamoe_prepared *p, const adamoe_run *run, const float *x,
                                     const adamoe_plan *plan, float *y)
{
    (void)p;
    (void)run;
    (void)x;
    (void)plan;
    (void)y;
    return adamoe_ok();
}

static adamoe_status combine_nothing(const adamoe_run *run, size_t hidden_size, const float *x,
                                     const float *outputs, const adamoe_plan *plan, float *y)
{
    (void)run;
    (void)hidden_size;
    (void)x;
    (void)outputs;
    (void)plan;
    (void)y;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- timing */

#define EXPERTS_OF_RANK 2 /* so that outputs leave in two parts, as those of layers do */
#define MOST_TOKENS     4096
#define MOST_BYTES      (4 << 20) /* to each other rank */
#define TRIPS           20        /* of a round */

/* Every rank sends as many rows to each expert. */
typedef struct rows_exchange {
    size_t rows, calls;   /* of each expert; of which a mean is taken */
    adamoe_volume volume; /* with each other rank */
    adamoe_plan plan;
    uint32_t *number; /* offset, input, token_offset, token_row */
    float *combine;
    adamoe_timed_call call;
    double seconds[ADAMOE_MOST_ROUNDS];
} rows_exchange;

struct adamoe_wire_timer {
    const adamoe_measure *measure;
    adamoe_kernel silent;
    adamoe_expert *expert; /* [experts] */
    size_t experts;
    adamoe_sharded *sharded;
    adamoe_prepared *prepared;
    size_t exchanges;
    rows_exchange exchange[ADAMOE_EXCHANGE_TIMES];
    double trip[ADAMOE_MOST_ROUNDS];
};

/* Half of the median round trip of one byte between ranks 0 and 1, on rank 0. */
static adamoe_status time_trips(const adamoe_world *world, double *out)
{
    double seconds[TRIPS];
    unsigned char byte = 0;
    for (size_t i = 0; i < TRIPS && world->rank < 2; ++i) {
        const uint32_t other = 1 - world->rank;
        adamoe_message message = {.done = false};
        const double start = adamoe_now();
        for (uint32_t half = 0; half < 2; ++half) {
            ADAMOE_TRY(half == world->rank
                           ? world->send(world->state, other, TAG_TRIP, &byte, 1, &message)
                           : world->receive(world->state, other, TAG_TRIP, &byte, 1, &message));
            ADAMOE_TRY(adamoe_world_wait(world, &message, 1));
            message.done = false;
        }
        seconds[i] = adamoe_now() - start;
    }
    if (world->rank == 0) {
        adamoe_sort(seconds, TRIPS);
        *out = 0.5 * adamoe_median(seconds, TRIPS);
    }
    return adamoe_ok();
}

/* Token t goes to expert t / rows alone. */
static adamoe_status make_plan(size_t experts, rows_exchange *x)
{
    const size_t tokens = experts * x->rows;
    x->number = malloc((experts + 1 + 3 * tokens + 1) * sizeof *x->number);
    x->combine = malloc((tokens + 1) * sizeof *x->combine);
    if (x->number == NULL || x->combine == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "exchanges of %zu rows: out of memory", tokens);
    }
    uint32_t *offset = x->number, *input = offset + experts + 1, *token_offset = input + tokens,
             *token_row = token_offset + tokens + 1;
    for (size_t e = 0; e <= experts; ++e) {
        offset[e] = (uint32_t)(e * x->rows);
    }
    for (size_t t = 0; t <= tokens; ++t) {
        token_offset[t] = (uint32_t)t;
    }
    for (size_t t = 0; t < tokens; ++t) {
        input[t] = token_row[t] = (uint32_t)t;
        x->combine[t] = 1.0f;
    }
    x->plan = (adamoe_plan){.tokens = tokens,
                            .inputs = tokens,
                            .rows = tokens,
                            .experts = experts,
                            .offset = offset,
                            .input = input,
                            .token_offset = token_offset,
                            .token_row = token_row,
                            .combine = x->combine};
    return adamoe_ok();
}

static adamoe_status open_exchange(adamoe_wire_timer *t, size_t rows, double *cost, double *longest)
{
    const adamoe_measure *m = t->measure;
    const size_t d = m->preset->hidden_size;
    const adamoe_wire wire = adamoe_wire_of(m->kernel, d);
    rows_exchange *x = &t->exchange[t->exchanges++];
    double seconds;
    x->rows = rows;
    x->volume.rows = x->volume.inputs = EXPERTS_OF_RANK * rows;
    adamoe_volume_bytes(EXPERTS_OF_RANK, &wire, &x->volume);
    ADAMOE_TRY(make_plan(t->experts, x));
    ADAMOE_TRY(
        adamoe_timed_call_open(m, adamoe_sharded_kernel(t->sharded), t->prepared, d, &x->plan, &x->call));
    ADAMOE_TRY(adamoe_timed_call_warm_up(m, &x->call, &seconds, &x->calls));
    x->calls = seconds > 0.1 ? 1 : x->calls < 9 ? 3 : x->calls / 3;
    *cost += seconds * (double)x->calls;
    *longest = seconds;
    return adamoe_ok();
}

static adamoe_status open_exchanges(adamoe_wire_timer *t, double *cost)
{
    const adamoe_measure *m = t->measure;
    const size_t row = EXPERTS_OF_RANK * m->preset->hidden_size * sizeof(float);
    double trip = 0.0, longest;
    ADAMOE_TRY(time_trips(m->world, &trip));
    ADAMOE_TRY(adamoe_measure_slowest(m->world, trip, &trip));
    *cost = 2.0 * TRIPS * trip;
    ADAMOE_TRY(open_exchange(t, 0, cost, &longest));
    for (size_t rows = 1;
         t->exchanges < 4 || (t->exchanges < ADAMOE_EXCHANGE_TIMES && rows * row <= MOST_BYTES &&
                              rows * t->experts <= MOST_TOKENS && longest < m->most_seconds);
         rows *= 2) {
        ADAMOE_TRY(open_exchange(t, rows, cost, &longest));
    }
    return adamoe_ok();
}

adamoe_status adamoe_wire_timer_open(const adamoe_measure *m, adamoe_wire_timer **out, double *cost)
{
    const adamoe_sharded_options options = {.world = m->world, .chunks = m->chunks, .overlap = true};
    adamoe_wire_timer *t = calloc(1, sizeof *t);
    *out = t;
    if (t == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory");
    }
    t->measure = m;
    t->experts = EXPERTS_OF_RANK * m->world->ranks;
    t->expert = calloc(t->experts, sizeof *t->expert);
    if (t->expert == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "exchanges: out of memory");
    }
    t->silent = *m->kernel;
    t->silent.prepare = prepare_nothing;
    t->silent.release = release_nothing;
    t->silent.work_bytes = no_work;
    t->silent.experts = compute_nothing;
    t->silent.combine = combine_nothing;
    const adamoe_layer layer = {.hidden_size = m->preset->hidden_size,
                                .intermediate_size = m->preset->intermediate_size,
                                .experts = t->experts,
                                .expert = t->expert};
    ADAMOE_TRY(adamoe_sharded_create(&t->silent, &options, &t->sharded));
    ADAMOE_TRY(adamoe_sharded_kernel(t->sharded)
                   ->prepare(&m->machine->host, &layer, m->machine->placement, &t->prepared));
    return open_exchanges(t, cost);
}

void adamoe_wire_timer_close(adamoe_wire_timer *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->exchanges; ++i) {
        if (t->exchange[i].call.host != NULL) {
            adamoe_timed_call_close(&t->exchange[i].call);
        }
        free(t->exchange[i].number);
        free(t->exchange[i].combine);
    }
    if (t->prepared != NULL) {
        adamoe_sharded_kernel(t->sharded)->release(t->prepared);
    }
    adamoe_sharded_free(t->sharded);
    free(t->expert);
    free(t);
}

adamoe_status adamoe_wire_timer_round(adamoe_wire_timer *t, size_t round)
{
    ADAMOE_TRY(time_trips(t->measure->world, &t->trip[round]));
    for (size_t i = 0; i < t->exchanges; ++i) {
        rows_exchange *x = &t->exchange[i];
        ADAMOE_TRY(adamoe_timed_call_mean(t->measure, &x->call, x->calls, &x->seconds[round]));
    }
    return adamoe_ok();
}

void adamoe_wire_timer_finish(const adamoe_wire_timer *t, const adamoe_rounds *rounds,
                              adamoe_calibration *out)
{
    const size_t peers = t->measure->world->ranks - 1;
    adamoe_exchange_time exchange[ADAMOE_EXCHANGE_TIMES];
    for (size_t i = 0; i < t->exchanges; ++i) {
        const rows_exchange *x = &t->exchange[i];
        exchange[i] = (adamoe_exchange_time){(double)x->volume.request_bytes, (double)x->volume.result_bytes,
                                             adamoe_rounds_median(rounds, x->seconds)};
    }
    const uint32_t chunks = t->measure->chunks < EXPERTS_OF_RANK ? t->measure->chunks : EXPERTS_OF_RANK;
    out->ranks = t->measure->world->ranks;
    out->network = (adamoe_cost_network){.hidden = 1.0, .chunks = chunks, .overlap = true};
    adamoe_fit_wire(adamoe_rounds_median(rounds, t->trip), peers, exchange, t->exchanges, &out->network);
    for (size_t i = 0; i < t->exchanges; ++i) {
        char what[96];
        (void)snprintf(what, sizeof what, "%zu rows to and from each of %zu others, not computed",
                       EXPERTS_OF_RANK * t->exchange[i].rows, peers);
        (void)adamoe_calibration_add(out, what, model(&out->network, peers, &exchange[i]),
                                     exchange[i].seconds, true);
    }
    out->network.chunks = t->measure->chunks;
}

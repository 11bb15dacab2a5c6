/*
 * Messages between the ranks of this run, timed, and the wire of the cost model fitted to them.
 */
#include "machine/clock.h"
#include "scale/measure.h"
#include "statistics/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_TRIP = 100, TAG_EXCHANGE };

/* -------------------------------------------------------------------------------------------------- fitting */

/* Sum of the squares of relative errors. */
static double error_of(const adamoe_cost_network *network, size_t peers, const adamoe_exchange_time *exchange,
                       size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const double bytes = exchange[i].bytes * (double)peers;
        const double error = adamoe_cost_wire(network, bytes, bytes, peers, 1) / exchange[i].seconds - 1.0;
        sum += error * error;
    }
    return sum;
}

/* Least squares of relative errors with latency and overhead as they are: seconds of a byte, and rendezvous of the
 * exchanges from `first` on; none of it from `count` on. */
static void fit_from(size_t peers, const adamoe_exchange_time *exchange, size_t first, size_t count,
                     adamoe_cost_network *out)
{
    const double base = out->latency + (double)(peers - 1) * out->overhead;
    double bb = 0.0, br = 0.0, rr = 0.0, tb = 0.0, tr = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const double t = exchange[i].seconds, b = exchange[i].bytes * (double)peers / t;
        const double r = i >= first ? 1.0 / t : 0.0, left = 1.0 - base / t;
        bb += b * b;
        br += b * r;
        rr += r * r;
        tb += b * left;
        tr += r * left;
    }
    const double determinant = bb * rr - br * br;
    double slope = first < count && determinant > 0.0 ? (tb * rr - tr * br) / determinant : 0.0;
    out->rendezvous = slope > 0.0 ? (tr - slope * br) / rr : 0.0;
    if (!(out->rendezvous > 0.0)) {
        out->rendezvous = 0.0;
        slope = tb / bb;
    }
    out->bandwidth = 1.0 / fmax(slope, 1e-15);
    out->eager = sqrt(exchange[first - 1].bytes * exchange[first < count ? first : count - 1].bytes);
}

void adamoe_fit_wire(double latency, size_t peers, const adamoe_exchange_time *exchange, size_t count,
                     adamoe_cost_network *out)
{
    const double shortest = exchange[0].seconds;
    double least = (double)INFINITY;
    out->latency = fmin(latency, shortest);
    out->overhead = peers == 1 ? 0.0 : (shortest - out->latency) / (double)(peers - 1);
    for (size_t first = count; first > 0; --first) {
        adamoe_cost_network trial = *out;
        fit_from(peers, exchange, first, count, &trial);
        const double error = error_of(&trial, peers, exchange, count);
        if (error < least) {
            least = error;
            *out = trial;
        }
    }
}

/* ------------------------------------------------------------------------------------------------- timing */

/* Half of a fast round trip of one byte between ranks 0 and 1, on rank 0: a tenth of them are faster. */
static adamoe_status time_trips(const adamoe_world *world, double *out)
{
    enum { TRIPS = 200 };
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
        *out = 0.5 * seconds[TRIPS / 10];
    }
    return adamoe_ok();
}

typedef struct buffers {
    unsigned char *out, *in; /* [ranks, bytes] */
    adamoe_message *message; /* [2, ranks] */
} buffers;

static adamoe_status exchange_once(const adamoe_world *world, const buffers *b, size_t bytes)
{
    size_t count = 0;
    for (uint32_t step = 1; step < world->ranks; ++step) {
        const uint32_t from = (world->rank + step) % world->ranks;
        ADAMOE_TRY(world->receive(world->state, from, TAG_EXCHANGE, b->in + from * bytes, bytes,
                                  &b->message[count++]));
    }
    for (uint32_t step = 1; step < world->ranks; ++step) {
        const uint32_t to = (world->rank + step) % world->ranks;
        ADAMOE_TRY(
            world->send(world->state, to, TAG_EXCHANGE, b->out + to * bytes, bytes, &b->message[count++]));
    }
    return adamoe_world_wait(world, b->message, count);
}

/* Mean seconds of one of `rounds` exchanges, those of the slowest rank. */
static adamoe_status time_rounds(const adamoe_world *world, const buffers *b, size_t bytes, size_t rounds,
                                 double *out)
{
    ADAMOE_TRY(adamoe_world_barrier(world));
    const double start = adamoe_now();
    for (size_t i = 0; i < rounds; ++i) {
        ADAMOE_TRY(exchange_once(world, b, bytes));
    }
    return adamoe_measure_slowest(world, (adamoe_now() - start) / (double)rounds, out);
}

#define REPETITIONS 7

/* The fastest of several times, of as many rounds as take some milliseconds. */
static adamoe_status time_exchange(const adamoe_world *world, const buffers *b, size_t bytes, double *out)
{
    double seconds[REPETITIONS], first;
    ADAMOE_TRY(time_rounds(world, b, bytes, 1, &first)); /* warms up */
    ADAMOE_TRY(time_rounds(world, b, bytes, 2, &first));
    const size_t rounds = (size_t)fmin(1000.0, fmax(3.0, ceil(0.01 / first)));
    for (size_t i = 0; i < REPETITIONS; ++i) {
        ADAMOE_TRY(time_rounds(world, b, bytes, rounds, &seconds[i]));
    }
    adamoe_sort(seconds, REPETITIONS);
    *out = seconds[0];
    return adamoe_ok();
}

static const size_t sizes[] = {64, 512, 3072, 16384, 61440, 98304, 524288, 2097152};

#define SIZES (sizeof sizes / sizeof *sizes)

static adamoe_status time_all(const adamoe_world *world, const buffers *b, double *latency,
                              adamoe_exchange_time exchange[SIZES])
{
    ADAMOE_TRY(time_trips(world, latency));
    for (size_t i = 0; i < SIZES; ++i) {
        exchange[i].bytes = (double)sizes[i];
        ADAMOE_TRY(time_exchange(world, b, sizes[i], &exchange[i].seconds));
    }
    return adamoe_ok();
}

adamoe_status adamoe_measure_wire(const adamoe_measure *measure, adamoe_calibration *out)
{
    const adamoe_world *world = measure->world;
    if (world->ranks < 2) {
        return adamoe_ok();
    }
    const size_t bytes = world->ranks * sizes[SIZES - 1], peers = world->ranks - 1;
    adamoe_exchange_time exchange[SIZES];
    double latency = 0.0;
    const buffers b = {malloc(bytes), malloc(bytes), calloc(2 * world->ranks, sizeof(adamoe_message))};
    adamoe_status status =
        b.out == NULL || b.in == NULL || b.message == NULL
            ? adamoe_error(ADAMOE_ENVIRONMENT, "exchanges of %zu bytes: out of memory", bytes)
            : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        memset(b.out, 1, bytes);
        status = time_all(world, &b, &latency, exchange);
    }
    if (status.code == ADAMOE_OK) {
        out->ranks = world->ranks;
        out->network = (adamoe_cost_network){.hidden = 1.0, .chunks = measure->chunks};
        adamoe_fit_wire(latency, peers, exchange, SIZES, &out->network);
        for (size_t i = 0; i < SIZES; ++i) {
            const double all = exchange[i].bytes * (double)peers;
            char what[96];
            (void)snprintf(what, sizeof what, "%zu bytes to and from each of %zu others", sizes[i], peers);
            adamoe_calibration_add(out, what, adamoe_cost_wire(&out->network, all, all, peers, 1),
                                   exchange[i].seconds, true);
        }
    }
    free(b.out);
    free(b.in);
    free(b.message);
    return status;
}

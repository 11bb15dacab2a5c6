/*
 * The cost model of a layer on several ranks.
 */
#include "scale/cost.h"

#include <math.h>
#include <stdlib.h>

double adamoe_cost_wire(const adamoe_cost_network *network, double out, double in, size_t peers,
                        uint32_t parts)
{
    if (peers == 0) {
        return 0.0;
    }
    const double most = fmax(out, in), others = (double)(peers - 1);
    return network->latency + others * network->overhead +
           (most / ((double)peers * parts) > network->eager ? network->rendezvous : 0.0) +
           most / network->bandwidth;
}

/* While all ranks compute, or one alone. */
static double expert_seconds(const adamoe_cost_compute *compute, const adamoe_cost_layer *layer, double rows,
                             bool alone)
{
    if (rows <= 0.0) {
        return 0.0;
    }
    if (compute->points == 0) {
        return fmax(rows * layer->row_flops / compute->flops, layer->expert_bytes / compute->bytes);
    }
    const adamoe_cost_point *p = compute->point;
    size_t i = 1;
    while (i < compute->points && p[i].rows < rows) {
        ++i;
    }
    const double before = alone ? p[i - 1].alone : p[i - 1].seconds;
    if (i == compute->points) {
        return before * fmax(rows / p[i - 1].rows, 1.0);
    }
    const double after = alone ? p[i].alone : p[i].seconds;
    const double share = (rows - p[i - 1].rows) / (p[i].rows - p[i - 1].rows);
    return before + fmax(share, 0.0) * (after - before);
}

double adamoe_cost_expert(const adamoe_cost_compute *compute, const adamoe_cost_layer *layer, double rows)
{
    return expert_seconds(compute, layer, rows, false);
}

/* What one rank does and sends. */
typedef struct rank_time {
    double request, result, stay, arrive, alone; /* S + A of a rank alone */
} rank_time;

static rank_time time_of_rank(const adamoe_crossing *crossing, const adamoe_cost_network *network,
                              const adamoe_cost_compute *compute, const adamoe_cost_layer *layer,
                              uint32_t rank)
{
    double request_out = 0.0, request_in = 0.0, result_out = 0.0, result_in = 0.0;
    size_t result_peers = 0;
    rank_time t = {.request = 0.0};
    for (uint32_t other = 0; other < crossing->ranks; ++other) {
        const adamoe_volume *to = &crossing->pair[(size_t)rank * crossing->ranks + other];
        const adamoe_volume *from = &crossing->pair[(size_t)other * crossing->ranks + rank];
        request_out += (double)to->request_bytes;
        request_in += (double)from->request_bytes;
        result_in += (double)to->result_bytes;
        result_out += (double)from->result_bytes;
        result_peers += other != rank && (to->rows != 0 || from->rows != 0);
    }
    for (size_t e = 0; e < crossing->experts; ++e) {
        if (crossing->rank_of_expert[e] == rank) {
            t.stay += adamoe_cost_expert(compute, layer, (double)crossing->stay[e]);
            t.arrive += adamoe_cost_expert(compute, layer, (double)crossing->arrive[e]);
            t.alone += expert_seconds(compute, layer, (double)crossing->stay[e], true) +
                       expert_seconds(compute, layer, (double)crossing->arrive[e], true);
        }
    }
    t.request = adamoe_cost_wire(network, request_out, request_in, crossing->ranks - 1,
                                 1); /* a head goes to everybody */
    t.result = adamoe_cost_wire(network, result_out, result_in, result_peers, network->chunks);
    return t;
}

static double path(const rank_time *t, const adamoe_cost_network *network)
{
    const double part = network->hidden * (1.0 - 1.0 / (double)network->chunks);
    return t->request + t->stay - network->hidden * fmin(t->request, t->stay) + t->arrive + t->result -
           part * fmin(t->arrive, t->result);
}

typedef double amount_of(const rank_time *t);

static double stay_of(const rank_time *t)
{
    return t->stay;
}

static double arrive_of(const rank_time *t)
{
    return t->arrive;
}

static double both_of(const rank_time *t)
{
    return t->stay + t->arrive;
}

/* When the last of the ranks is done, which begin together: always the one with the least that is left is done next.
 * `faster` is a. */
static double last_of(const rank_time *time, uint32_t ranks, amount_of *amount, double faster)
{
    double done = 0.0, seconds = 0.0; /* of every rank that still computes */
    for (;;) {
        double next = (double)INFINITY;
        uint32_t computing = 0;
        for (uint32_t r = 0; r < ranks; ++r) {
            const double s = amount(&time[r]);
            if (s > done) {
                next = fmin(next, s);
                ++computing;
            }
        }
        if (computing == 0) {
            return seconds;
        }
        seconds += (next - done) / fmin(faster, (double)ranks / (double)computing);
        done = next;
    }
}

static adamoe_layer_time time_of_layer(const rank_time *rank, uint32_t ranks, double home,
                                       const adamoe_cost_network *network)
{
    adamoe_layer_time time = {.home = home};
    double longest_path = 0.0, most = 0.0, all = 0.0, alone = 0.0;
    for (uint32_t r = 0; r < ranks; ++r) {
        longest_path = fmax(longest_path, path(&rank[r], network));
        most = fmax(most, both_of(&rank[r]));
        all += both_of(&rank[r]);
        alone += rank[r].alone;
        time.request = fmax(time.request, rank[r].request);
        time.result = fmax(time.result, rank[r].result);
    }
    const double faster = alone > 0.0 ? fmax(1.0, all / alone) : 1.0;
    time.arithmetic = last_of(rank, ranks, both_of, faster);
    time.total = home + (network->overlap ? longest_path - most + time.arithmetic
                                          : time.request + last_of(rank, ranks, arrive_of, faster) +
                                                time.result + last_of(rank, ranks, stay_of, faster));
    time.communication = time.total - home - time.arithmetic;
    return time;
}

adamoe_status adamoe_cost_of_layer(const adamoe_crossing *crossing, const adamoe_cost_network *network,
                                   const adamoe_cost_compute *compute, const adamoe_cost_layer *layer,
                                   adamoe_layer_time *out)
{
    rank_time *rank = malloc(crossing->ranks * sizeof *rank);
    if (rank == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory");
    }
    for (uint32_t r = 0; r < crossing->ranks; ++r) {
        rank[r] = time_of_rank(crossing, network, compute, layer, r);
    }
    const double most_tokens = ceil((double)crossing->tokens / (double)crossing->ranks);
    *out = time_of_layer(rank, crossing->ranks, most_tokens * layer->home_flops / compute->flops, network);
    free(rank);
    return adamoe_ok();
}

/*
 * The cost model of a layer on several ranks.
 */
#include "scale/cost.h"

#include <math.h>

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

double adamoe_cost_expert(const adamoe_cost_compute *compute, const adamoe_cost_layer *layer, double rows)
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
    if (i == compute->points) {
        return p[i - 1].seconds * fmax(rows / p[i - 1].rows, 1.0);
    }
    const double share = (rows - p[i - 1].rows) / (p[i].rows - p[i - 1].rows);
    return rows <= p[0].rows ? p[0].seconds : p[i - 1].seconds + share * (p[i].seconds - p[i - 1].seconds);
}

/* What one rank does and sends. */
typedef struct rank_time {
    double request, result, stay, arrive;
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
        }
    }
    t.request = adamoe_cost_wire(network, request_out, request_in, crossing->ranks - 1,
                                 1); /* a head goes to everybody */
    t.result = adamoe_cost_wire(network, result_out, result_in, result_peers, network->chunks);
    return t;
}

adamoe_layer_time adamoe_cost_of_layer(const adamoe_crossing *crossing, const adamoe_cost_network *network,
                                       const adamoe_cost_compute *compute, const adamoe_cost_layer *layer)
{
    adamoe_layer_time time = {.total = 0.0};
    double first = 0.0, second = 0.0;
    const double part = network->hidden * (1.0 - 1.0 / (double)network->chunks);
    for (uint32_t r = 0; r < crossing->ranks; ++r) {
        const rank_time t = time_of_rank(crossing, network, compute, layer, r);
        first = fmax(first, t.request + t.stay - network->hidden * fmin(t.request, t.stay));
        second = fmax(second, t.arrive + t.result - part * fmin(t.arrive, t.result));
        time.request = fmax(time.request, t.request);
        time.result = fmax(time.result, t.result);
        time.arithmetic = fmax(time.arithmetic, t.stay + t.arrive);
    }
    const double most_tokens = ceil((double)crossing->tokens / (double)crossing->ranks);
    time.home = most_tokens * layer->home_flops / compute->flops;
    time.total = time.home + first + second;
    time.communication = time.total - time.home - time.arithmetic;
    return time;
}

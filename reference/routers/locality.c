/*
 * What both routers of LocMoE have: groups of channels, the balance loss, and the locality loss, by which tokens of a
 * node shall go to the experts of that node.
 */
#include "routers/parts.h"

#include <math.h>

adamoe_status adamoe_channel_group(const adamoe_router_call *call, size_t *group)
{
    const size_t d = call->hidden_size, n = call->experts;
    if (d % n != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "hidden_size: %zu is no multiple of %zu experts", d, n);
    }
    *group = d / n;
    return adamoe_ok();
}

/* Where the tokens are at home, and what those of a node give each expert. */
typedef struct homes {
    size_t nodes;
    int64_t *node;   /* [tokens] */
    double *tokens;  /* [nodes] */
    double *current; /* [nodes, n] D_c, the mean of the probabilities; 0 for a node without tokens */
} homes;

static adamoe_status find_homes(const adamoe_router_call *call, double nodes, const double *probability,
                                adamoe_routed *out, homes *h)
{
    static const char name[] = "router.home";
    const size_t S = call->tokens, n = call->experts;
    adamoe_matrix ids;
    h->nodes = (size_t)nodes;
    if (n % h->nodes != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "nodes: %zu do not divide %zu experts", h->nodes, n);
    }
    ADAMOE_TRY(adamoe_router_matrix_of(call, name, ADAMOE_I64, 1, S, &ids));
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, S, 1, &h->node));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, h->nodes, 1, &h->tokens));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, h->nodes, n, &h->current));
    for (size_t s = 0; s < S; ++s) {
        ADAMOE_TRY(adamoe_router_id(&ids, name, s, 0, (int64_t)h->nodes, &h->node[s]));
        h->tokens[h->node[s]] += 1.0;
        for (size_t e = 0; e < n; ++e) {
            h->current[(size_t)h->node[s] * n + e] += probability[s * n + e];
        }
    }
    for (size_t i = 0; i < h->nodes * n; ++i) {
        h->current[i] = h->tokens[i / n] > 0.0 ? h->current[i] / h->tokens[i / n] : 0.0;
    }
    return adamoe_ok();
}

/* ln(D_c / D_l) of a node and an expert. D_l, the wanted distribution, is eta/n everywhere and the rest on the node's
 * own experts. */
static double log_ratio(const homes *h, double eta, size_t n, size_t node, size_t e)
{
    const size_t own = n / h->nodes;
    const double wanted = eta / (double)n + (e / own == node ? (1.0 - eta) / (double)own : 0.0);
    return log(h->current[node * n + e] / wanted);
}

/* mu times the sum over nodes of S_h/S times the divergence of D_c from D_l. */
static adamoe_status locality_loss(const adamoe_router_call *call, adamoe_locality locality,
                                   const double *probability, adamoe_routed *out)
{
    const size_t n = call->experts;
    double loss = 0.0;
    homes h;
    ADAMOE_TRY(find_homes(call, locality.nodes, probability, out, &h));
    for (size_t i = 0; i < h.nodes * n; ++i) {
        loss += h.current[i] > 0.0 ? h.tokens[i / n] / (double)call->tokens * h.current[i] *
                                         log_ratio(&h, locality.eta, n, i / n, i % n)
                                   : 0.0;
    }
    return adamoe_routed_number(out, "loss.locality", locality.mu * loss);
}

adamoe_status adamoe_locality_losses(const adamoe_router_call *call, adamoe_locality locality,
                                     const double *probability, const int64_t *choice, size_t top_k,
                                     adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    double *count;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, n, 1, &count));
    adamoe_count_choices(choice, S * top_k, n, count);
    ADAMOE_TRY(adamoe_routed_number(out, "loss.balance",
                                    locality.alpha * (double)n * adamoe_balance(count, probability, S, n)));
    return locality_loss(call, locality, probability, out);
}

adamoe_status adamoe_locality_losses_backward(const adamoe_router_call *call, adamoe_locality locality,
                                              const double *probability, const int64_t *choice, size_t top_k,
                                              const adamoe_router_derivative *derivative,
                                              adamoe_routed *routed, double *dprobability)
{
    const size_t S = call->tokens, n = call->experts;
    double *count;
    homes h;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, n, 1, &count));
    adamoe_count_choices(choice, S * top_k, n, count);
    adamoe_balance_backward(count, derivative->loss[0] * locality.alpha * (double)n, S, n, dprobability);
    ADAMOE_TRY(find_homes(call, locality.nodes, probability, routed, &h));
    for (size_t i = 0; i < S * n; ++i) { /* p ln p has no derivative at 0, which no p of a softmax is */
        const size_t node = (size_t)h.node[i / n];
        if (h.current[node * n + i % n] > 0.0) {
            dprobability[i] += derivative->loss[1] * locality.mu / (double)S *
                               (log_ratio(&h, locality.eta, n, node, i % n) + 1.0);
        }
    }
    return adamoe_ok();
}

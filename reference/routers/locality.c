/*
 * The locality loss of LocMoE: tokens of a node shall go to the experts of that node.
 */
#include "routers/parts.h"

#include <math.h>

/* sum over e of D_c ln(D_c / D_l): D_c[e] is what the tokens of the node give expert e, D_l the wanted
 * distribution, eta/n everywhere and the rest on the node's own experts. */
static double divergence(const double *current, size_t n, size_t nodes, size_t node, double eta)
{
    const size_t own = n / nodes;
    double sum = 0.0;
    for (size_t e = 0; e < n; ++e) {
        const double wanted = eta / (double)n + (e / own == node ? (1.0 - eta) / (double)own : 0.0);
        sum += current[e] > 0.0 ? current[e] * log(current[e] / wanted) : 0.0;
    }
    return sum;
}

adamoe_status adamoe_locality_loss(const adamoe_router_call *call, const double *probability, size_t nodes,
                                   double eta, double mu, adamoe_routed *out)
{
    static const char home_name[] = "router.home";
    const size_t S = call->tokens, n = call->experts;
    adamoe_matrix homes;
    double *current, loss = 0.0;
    if (nodes == 0 || n % nodes != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "nodes: %zu do not divide %zu experts", nodes, n);
    }
    ADAMOE_TRY(adamoe_router_matrix_of(call, home_name, ADAMOE_I64, 1, S, &homes));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, nodes, n, &current)); /* sums, then means, of each node */
    for (size_t node = 0; node < nodes; ++node) {
        double tokens = 0.0;
        for (size_t s = 0; s < S; ++s) {
            int64_t home;
            ADAMOE_TRY(adamoe_router_id(&homes, home_name, s, 0, (int64_t)nodes, &home));
            for (size_t e = 0; home == (int64_t)node && e < n; ++e) {
                current[node * n + e] += probability[s * n + e];
            }
            tokens += home == (int64_t)node;
        }
        for (size_t e = 0; tokens > 0.0 && e < n; ++e) {
            current[node * n + e] /= tokens;
        }
        loss += tokens / (double)S * divergence(current + node * n, n, nodes, node, eta);
    }
    return adamoe_routed_number(out, "loss.locality", mu * loss);
}

/*
 * Null copies (arXiv 2601.15370, the paper's section 4): reference/README.md section 12.14. One null logit, copied as often
 * as the wanted share of true experts asks for.
 */
#include "routers/parts.h"

#include <math.h>

enum { TOP_K, RHO, ALPHA, Z };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = {.name = "top_k",
               .kind = ADAMOE_PARAMETER_COUNT,
               .need = ADAMOE_PARAMETER_REQUIRED,
               .low = 1.0,
               .high = ADAMOE_ANY_COUNT},
    [RHO] = {.name = "rho",
             .kind = ADAMOE_PARAMETER_NUMBER,
             .need = ADAMOE_PARAMETER_REQUIRED,
             .low = 0.0,
             .low_open = true,
             .high = 1.0},
    [ALPHA] = ADAMOE_NUMBER("alpha", 0.0, ADAMOE_ANY, 0.02),
    [Z] = ADAMOE_NUMBER("z", 0.0, ADAMOE_ANY, 0.001),
};

/* What a rho near 0 asks for is refused before it is allocated. */
#define MOST_COPIES 0x1p20

/* M = floor(N (1 - rho) / rho + 1/2) copies. */
static adamoe_status count_copies(const adamoe_router_call *call, size_t *copies)
{
    const double rho = call->value[RHO], count = floor((double)call->experts * (1.0 - rho) / rho + 0.5);
    if (count > MOST_COPIES) {
        return adamoe_error(ADAMOE_BAD_INPUT, "rho: %.9g asks for %.9g null copies, more than %.0f", rho,
                            count, MOST_COPIES);
    }
    *copies = (size_t)count;
    return adamoe_ok();
}

/* l = [W x; the null logit M times]. */
static adamoe_status copied_logits(const adamoe_router_call *call, size_t ids, adamoe_routed *out,
                                   double **logits)
{
    const size_t S = call->tokens, n = call->experts;
    size_t null_rows = 0;
    double *products;
    ADAMOE_TRY(adamoe_gate_products(call, NULL, &null_rows, out, &products));
    if (null_rows != 1) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "tensor block_sparse_moe.gate2.weight: %zu rows where 1 is expected", null_rows);
    }
    ADAMOE_TRY(adamoe_routed_numbers(out, "logits", S, ids, logits));
    for (size_t i = 0; i < S * ids; ++i) {
        const size_t id = i % ids;
        (*logits)[i] = products[i / ids * (n + 1) + (id < n ? id : n)];
    }
    return adamoe_ok();
}

/* B = softmax over the chosen true experts alone. */
static void compute_weights(const adamoe_router_call *call, const double *logits, const int64_t *choice,
                            size_t ids, double *weight)
{
    const size_t n = call->experts, top_k = (size_t)call->value[TOP_K];
    for (size_t s = 0; s < call->tokens; ++s) {
        double largest = -HUGE_VAL, sum = 0.0;
        for (size_t j = s * top_k; j < (s + 1) * top_k; ++j) {
            largest = (size_t)choice[j] < n ? fmax(largest, logits[s * ids + (size_t)choice[j]]) : largest;
        }
        for (size_t j = s * top_k; j < (s + 1) * top_k; ++j) {
            sum += (size_t)choice[j] < n ? exp(logits[s * ids + (size_t)choice[j]] - largest) : 0.0;
        }
        for (size_t j = s * top_k; j < (s + 1) * top_k; ++j) {
            const size_t at = s * ids + (size_t)choice[j];
            weight[at] = (size_t)choice[j] < n ? exp(logits[at] - largest) / sum : 0.0;
        }
    }
}

/* balance = alpha (N + M) sum of f P over all slots; z = z mean of (ln sum exp l)^2. */
static adamoe_status add_losses(const adamoe_router_call *call, const double *logits, const double *scores,
                                const int64_t *choice, size_t ids, adamoe_routed *out)
{
    const size_t S = call->tokens, top_k = (size_t)call->value[TOP_K];
    double *count, squares = 0.0, selections = 0.0;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, ids, 1, &count));
    adamoe_count_choices(choice, S * top_k, ids, count);
    for (size_t s = 0; s < S; ++s) {
        const double *l = logits + s * ids;
        double largest = -HUGE_VAL, sum = 0.0;
        for (size_t i = 0; i < ids; ++i) {
            largest = fmax(largest, l[i]);
        }
        for (size_t i = 0; i < ids; ++i) {
            sum += exp(l[i] - largest);
        }
        squares += (largest + log(sum)) * (largest + log(sum));
    }
    for (size_t e = 0; e < call->experts; ++e) {
        selections += count[e];
    }
    ADAMOE_TRY(adamoe_routed_number(
        out, "loss.balance", call->value[ALPHA] * (double)ids * adamoe_balance(count, scores, S, ids)));
    ADAMOE_TRY(adamoe_routed_number(out, "loss.z", call->value[Z] * squares / (double)S));
    return adamoe_routed_number(out, "loss.mean_true", selections / (double)S);
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, top_k = (size_t)call->value[TOP_K];
    adamoe_slots placement;
    double *logits, *scores;
    int64_t *choice;
    size_t copies = 0;
    ADAMOE_TRY(count_copies(call, &copies));
    const size_t ids = call->experts + copies;
    ADAMOE_TRY(copied_logits(call, ids, out, &logits));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, ids, &scores));
    adamoe_softmax_rows(logits, S, ids, scores);
    ADAMOE_TRY(adamoe_choose(call, logits, ids, top_k, out, &choice));
    ADAMOE_TRY(adamoe_slots_create(call, ids, out, &placement));
    adamoe_place_all(call, choice, top_k, &placement);
    compute_weights(call, logits, choice, ids, placement.weight);
    ADAMOE_TRY(add_losses(call, logits, scores, choice, ids, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

/* B = softmax over the chosen true experts: dl_i += B_i (dB_i - sum over j of B_j dB_j). */
static void weights_backward(const adamoe_router_call *call, const int64_t *choice, const double *weight,
                             const double *dweight, size_t ids, double *dlogits)
{
    const size_t top_k = (size_t)call->value[TOP_K];
    for (size_t s = 0; s < call->tokens; ++s) {
        double mean = 0.0;
        for (size_t j = s * top_k; j < (s + 1) * top_k; ++j) {
            const size_t at = s * ids + (size_t)choice[j];
            mean += weight[at] * dweight[at];
        }
        for (size_t j = s * top_k; j < (s + 1) * top_k; ++j) {
            const size_t at = s * ids + (size_t)choice[j];
            dlogits[at] += weight[at] * (dweight[at] - mean);
        }
    }
}

/* z = z mean of L^2 with L = ln sum exp l: dl_i += 2 z/S L p_i. */
static void z_backward(const double *logits, const double *scores, size_t tokens, size_t ids, double factor,
                       double *dlogits)
{
    for (size_t s = 0; s < tokens; ++s) {
        const double log_sum = logits[s * ids] - log(scores[s * ids]);
        for (size_t i = s * ids; i < (s + 1) * ids; ++i) {
            dlogits[i] += 2.0 * factor / (double)tokens * log_sum * scores[i];
        }
    }
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const adamoe_routed_array *logits = adamoe_routed_find(routed, "logits");
    const size_t S = call->tokens, n = call->experts, ids = logits->columns;
    const double *scores = adamoe_routed_numbers_of(routed, "scores");
    const int64_t *choice = adamoe_routed_integers_of(routed, "choice");
    double *count, *weight, *dweight, *dscores, *dlogits, *dproducts;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, ids, 1, &count));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &weight));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dweight));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, ids, &dlogits));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n + 1, &dproducts));
    compute_weights(call, logits->number, choice, ids, weight);
    adamoe_combine_backward(routed, derivative, ids, dweight);
    weights_backward(call, choice, weight, dweight, ids, dlogits);
    adamoe_count_choices(choice, S * (size_t)call->value[TOP_K], ids, count);
    adamoe_balance_backward(count, derivative->loss[0] * call->value[ALPHA] * (double)ids, S, ids, dscores);
    adamoe_softmax_rows_backward(scores, dscores, S, ids, dlogits);
    z_backward(logits->number, scores, S, ids, derivative->loss[1] * call->value[Z], dlogits);
    for (size_t i = 0; i < S * ids; ++i) { /* all copies are one row */
        dproducts[i / ids * (n + 1) + (i % ids < n ? i % ids : n)] += dlogits[i];
    }
    return adamoe_gate_backward(call, dproducts, n + 1, gradient);
}

ADAMOE_ROUTER(null_copies, "copies of one null logit among the true experts", backward, "balance", "z");

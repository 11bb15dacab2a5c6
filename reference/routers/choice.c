/*
 * Softmax, the k largest, capacity and place: what token choice and expert choice are made of.
 */
#include "routers/parts.h"

#include <math.h>

void adamoe_softmax_rows(const double *logits, size_t rows, size_t columns, double *probability)
{
    for (size_t r = 0; r < rows; ++r) {
        const double *l = logits + r * columns;
        double *p = probability + r * columns;
        double largest = -HUGE_VAL, sum = 0.0;
        for (size_t i = 0; i < columns; ++i) {
            largest = fmax(largest, l[i]);
        }
        for (size_t i = 0; i < columns; ++i) {
            p[i] = exp(l[i] - largest);
            sum += p[i];
        }
        for (size_t i = 0; i < columns; ++i) {
            p[i] /= sum;
        }
    }
}

/* The order of reference/README.md section 12: by value descending, then by index ascending. */
static bool comes_before(const double *value, size_t stride, size_t a, size_t b)
{
    const double va = value[a * stride], vb = value[b * stride];
    return va > vb || (va == vb && a < b);
}

int64_t adamoe_next_largest(const double *value, size_t count, size_t stride, int64_t last)
{
    size_t best = count;
    for (size_t i = 0; i < count; ++i) {
        const bool is_left = last < 0 || comes_before(value, stride, (size_t)last, i);
        if (is_left && (best == count || comes_before(value, stride, i, best))) {
            best = i;
        }
    }
    return (int64_t)best;
}

/* The list of the k best so far: who is as good as the last one, or as one before, comes after it. */
void adamoe_select_largest(const double *value, size_t count, size_t stride, size_t k, int64_t *chosen)
{
    size_t listed = 0;
    for (size_t i = 0; i < count; ++i) {
        const double v = value[i * stride];
        size_t place = listed;
        while (place > 0 && value[(size_t)chosen[place - 1] * stride] < v) {
            --place;
        }
        if (place < k) {
            listed += listed < k;
            for (size_t j = listed - 1; j > place; --j) {
                chosen[j] = chosen[j - 1];
            }
            chosen[place] = (int64_t)i;
        }
    }
}

adamoe_status adamoe_check_top_k(size_t top_k, size_t most)
{
    return top_k >= 1 && top_k <= most
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "top_k: %zu is not within 1 .. %zu", top_k, most);
}

adamoe_status adamoe_choose(const adamoe_router_call *call, const double *score, size_t ids, size_t top_k,
                            adamoe_routed *out, int64_t **choice)
{
    ADAMOE_TRY(adamoe_check_top_k(top_k, ids));
    ADAMOE_TRY(adamoe_routed_integers(out, "choice", call->tokens, top_k, choice));
    for (size_t i = 0; i < call->tokens * ids; ++i) {
        if (isnan(score[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "token %zu: the score of expert %zu is NaN", i / ids,
                                i % ids);
        }
    }
    for (size_t s = 0; s < call->tokens; ++s) {
        adamoe_select_largest(score + s * ids, ids, 1, top_k, *choice + s * top_k);
    }
    return adamoe_ok();
}

/* A capacity beyond this is as good as none, and a size_t and a double hold it. */
#define MOST 0x1p52

size_t adamoe_whole_slots(double slots)
{
    return slots >= 1.0 ? (size_t)fmin(ceil(slots), MOST) : 1; /* NaN too */
}

size_t adamoe_capacity(double m, size_t n, double c)
{
    return adamoe_whole_slots(m * c / (double)n);
}

/* ------------------------------------------------------------------------------------------- token choice */

adamoe_status adamoe_list_refusals(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                                   const adamoe_slots *placement, adamoe_routed *out)
{
    size_t refused = 0;
    int64_t *pair;
    for (size_t i = 0; i < call->tokens * top_k; ++i) {
        refused += placement->slot[i / top_k * placement->ids + (size_t)choice[i]] < 0;
    }
    ADAMOE_TRY(adamoe_routed_integers(out, "rejected", refused, 2, &pair));
    for (size_t i = 0; i < call->tokens * top_k; ++i) {
        if (placement->slot[i / top_k * placement->ids + (size_t)choice[i]] < 0) {
            *pair++ = (int64_t)(i / top_k);
            *pair++ = choice[i];
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_place(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                           const int64_t *capacity, const int64_t *order, adamoe_routed *out,
                           adamoe_slots *placement)
{
    const size_t ids = placement->ids;
    int64_t *taken;
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, ids, 1, &taken));
    for (size_t k = 0; k < top_k; ++k) {
        for (size_t i = 0; i < call->tokens; ++i) {
            const size_t s = order == NULL ? i : (size_t)order[i];
            const size_t id = (size_t)choice[s * top_k + k];
            if (taken[id] < capacity[id]) {
                placement->slot[s * ids + id] = taken[id]++;
            }
        }
    }
    return adamoe_list_refusals(call, choice, top_k, placement, out);
}

adamoe_status adamoe_place_evenly(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                                  size_t capacity, const int64_t *order, adamoe_routed *out,
                                  adamoe_slots *placement)
{
    int64_t *each;
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, placement->ids, 1, &each));
    for (size_t i = 0; i < placement->ids; ++i) {
        each[i] = (int64_t)capacity;
    }
    ADAMOE_TRY(adamoe_routed_integer(out, "capacity", capacity));
    return adamoe_place(call, choice, top_k, each, order, out, placement);
}

void adamoe_place_all(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                      adamoe_slots *placement)
{
    const size_t ids = placement->ids;
    for (size_t id = 0; id < ids; ++id) {
        int64_t taken = 0;
        for (size_t i = 0; i < call->tokens * top_k; ++i) {
            if (choice[i] == (int64_t)id) {
                placement->slot[i / top_k * ids + id] = taken++;
            }
        }
    }
}

/* The tokens by descending probability of their first choice. */
static adamoe_status order_by_priority(const adamoe_router_call *call, const double *probability,
                                       const int64_t *choice, size_t top_k, adamoe_routed *out,
                                       int64_t **order)
{
    double *priority;
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, call->tokens, 1, order));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, call->tokens, 1, &priority));
    for (size_t s = 0; s < call->tokens; ++s) {
        priority[s] = probability[s * call->experts + (size_t)choice[s * top_k]];
    }
    adamoe_select_largest(priority, call->tokens, 1, call->tokens, *order);
    return adamoe_ok();
}

/* gshard = n sum of f1_e P_e with f1 of first choices; importance = (std / mean)^2 of the experts' sums of A. */
static adamoe_status token_choice_losses(const adamoe_router_call *call, const double *probability,
                                         const int64_t *choice, size_t top_k, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    double *first, sum = 0.0, squares = 0.0;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, n, 1, &first));
    for (size_t s = 0; s < S; ++s) {
        first[choice[s * top_k]] += 1.0;
    }
    ADAMOE_TRY(
        adamoe_routed_number(out, "loss.gshard", (double)n * adamoe_balance(first, probability, S, n)));
    for (size_t e = 0; e < n; ++e) {
        sum += adamoe_column_mean(probability, S, n, e);
    }
    const double mean = sum / (double)n;
    for (size_t e = 0; e < n; ++e) {
        const double deviation = adamoe_column_mean(probability, S, n, e) - mean;
        squares += deviation * deviation;
    }
    return adamoe_routed_number(out, "loss.importance", squares / (double)n / (mean * mean));
}

adamoe_status adamoe_token_choice(const adamoe_router_call *call, const double *score,
                                  const double *probability, size_t top_k, double capacity_factor,
                                  bool batch_priority, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    adamoe_slots placement;
    int64_t *choice, *order = NULL;
    ADAMOE_TRY(adamoe_choose(call, score, n, top_k, out, &choice));
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    if (batch_priority) {
        ADAMOE_TRY(order_by_priority(call, probability, choice, top_k, out, &order));
    }
    const size_t capacity = adamoe_capacity((double)S * (double)top_k, n, capacity_factor);
    ADAMOE_TRY(adamoe_place_evenly(call, choice, top_k, capacity, order, out, &placement));
    for (size_t i = 0; i < S * n; ++i) {
        placement.weight[i] = probability[i];
    }
    ADAMOE_TRY(token_choice_losses(call, probability, choice, top_k, out));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

/* ------------------------------------------------------------------------------------------ expert choice */

adamoe_status adamoe_expert_choice(const adamoe_router_call *call, const double *score,
                                   const double *probability, double capacity_factor, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts;
    const size_t wanted = adamoe_capacity((double)S, n, capacity_factor), C = wanted < S ? wanted : S;
    adamoe_slots placement;
    int64_t *chosen;
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    ADAMOE_TRY(adamoe_routed_integers(out, NULL, C, 1, &chosen));
    for (size_t e = 0; e < n; ++e) {
        adamoe_select_largest(score + e, S, n, C, chosen);
        for (size_t c = 0; c < C; ++c) {
            const size_t i = (size_t)chosen[c] * n + e;
            placement.slot[i] = (int64_t)c;
            placement.weight[i] = probability[i];
        }
    }
    ADAMOE_TRY(adamoe_routed_integer(out, "capacity", C));
    return adamoe_routed_plan(call, &placement, NULL, out);
}

/* ------------------------------------------------------------------------------------------------- losses */

void adamoe_count_choices(const int64_t *choice, size_t choices, size_t ids, double *count)
{
    for (size_t i = 0; i < ids; ++i) {
        count[i] = 0.0;
    }
    for (size_t i = 0; i < choices; ++i) {
        count[choice[i]] += 1.0;
    }
}

double adamoe_column_mean(const double *value, size_t rows, size_t columns, size_t i)
{
    double sum = 0.0;
    for (size_t r = 0; r < rows; ++r) {
        sum += value[r * columns + i];
    }
    return sum / (double)rows;
}

double adamoe_balance(const double *count, const double *probability, size_t tokens, size_t ids)
{
    double sum = 0.0;
    for (size_t i = 0; i < ids; ++i) {
        sum += count[i] / (double)tokens * adamoe_column_mean(probability, tokens, ids, i);
    }
    return sum;
}

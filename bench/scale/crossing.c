/*
 * What crosses between ranks, counted.
 */
#include "scale/crossing.h"

#include <stdlib.h>
#include <string.h>

adamoe_status adamoe_crossing_create(uint32_t ranks, size_t experts, const uint32_t *rank_of_expert,
                                     adamoe_wire wire, adamoe_crossing *out)
{
    *out = (adamoe_crossing){.ranks = ranks,
                             .experts = experts,
                             .wire = wire,
                             .rank_of_expert = malloc(experts * sizeof *out->rank_of_expert),
                             .pair = calloc((size_t)ranks * ranks, sizeof *out->pair),
                             .stay = calloc(experts, sizeof *out->stay),
                             .arrive = calloc(experts, sizeof *out->arrive),
                             .owner = calloc(ranks, sizeof *out->owner)};
    if (out->rank_of_expert == NULL || out->pair == NULL || out->stay == NULL || out->arrive == NULL ||
        out->owner == NULL) {
        adamoe_crossing_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "rows between %u ranks: out of memory", ranks);
    }
    memcpy(out->rank_of_expert, rank_of_expert, experts * sizeof *rank_of_expert);
    return adamoe_ok();
}

void adamoe_crossing_free(adamoe_crossing *crossing)
{
    free(crossing->rank_of_expert);
    free(crossing->pair);
    free(crossing->stay);
    free(crossing->arrive);
    free(crossing->owner);
    *crossing = (adamoe_crossing){0};
}

void adamoe_crossing_clear(adamoe_crossing *crossing)
{
    memset(crossing->pair, 0, (size_t)crossing->ranks * crossing->ranks * sizeof *crossing->pair);
    memset(crossing->stay, 0, crossing->experts * sizeof *crossing->stay);
    memset(crossing->arrive, 0, crossing->experts * sizeof *crossing->arrive);
    crossing->tokens = crossing->calls = 0;
}

static void add_home(adamoe_crossing *crossing, uint32_t home, const uint32_t *id, size_t tokens,
                     size_t top_k)
{
    adamoe_volume_of_choices(id, tokens, top_k, crossing->experts, crossing->rank_of_expert, home,
                             crossing->ranks, &crossing->wire, crossing->owner);
    for (uint32_t d = 0; d < crossing->ranks; ++d) {
        adamoe_volume *sum = &crossing->pair[(size_t)home * crossing->ranks + d];
        sum->rows += crossing->owner[d].rows;
        sum->inputs += crossing->owner[d].inputs;
        sum->request_bytes += crossing->owner[d].request_bytes;
        sum->result_bytes += crossing->owner[d].result_bytes;
    }
    for (size_t i = 0; i < tokens * top_k; ++i) {
        if (id[i] < crossing->experts) {
            ++(crossing->rank_of_expert[id[i]] == home ? crossing->stay : crossing->arrive)[id[i]];
        }
    }
}

void adamoe_crossing_add(adamoe_crossing *crossing, const uint32_t *id, size_t tokens, size_t top_k)
{
    for (uint32_t home = 0; home < crossing->ranks; ++home) {
        const size_t first = (home * tokens + crossing->ranks - 1) / crossing->ranks;
        const size_t next = ((home + 1) * tokens + crossing->ranks - 1) / crossing->ranks;
        add_home(crossing, home, id + first * top_k, next - first, top_k);
    }
    crossing->tokens += tokens;
    ++crossing->calls;
}

adamoe_crossing_sum adamoe_crossing_total(const adamoe_crossing *crossing)
{
    adamoe_crossing_sum sum = {0};
    uint64_t largest = 0;
    for (uint32_t to = 0; to < crossing->ranks; ++to) {
        uint64_t computed = 0;
        for (uint32_t from = 0; from < crossing->ranks; ++from) {
            const adamoe_volume *v = &crossing->pair[(size_t)from * crossing->ranks + to];
            computed += v->rows;
            if (from != to) {
                sum.rows_sent += v->rows;
                sum.inputs_sent += v->inputs;
                sum.request_bytes += v->request_bytes;
                sum.result_bytes += v->result_bytes;
            }
        }
        sum.rows += computed;
        largest = computed > largest ? computed : largest;
    }
    sum.largest_over_mean = sum.rows == 0 ? 0.0 : (double)largest * crossing->ranks / (double)sum.rows;
    return sum;
}

/*
 * Which rank holds which experts of a layer.
 */
#include "mpi/placement.h"
#include "mpi/partition.h"

#include <stdlib.h>
#include <string.h>

const char *const adamoe_expert_order_names[ADAMOE_EXPERT_ORDERS] = {"block", "turn", "load", "together"};

bool adamoe_expert_order_needs_use(adamoe_expert_order order)
{
    return order == ADAMOE_EXPERTS_LOAD || order == ADAMOE_EXPERTS_TOGETHER;
}

size_t adamoe_experts_of_rank(size_t experts, size_t ranks)
{
    return (experts + ranks - 1) / ranks;
}

/* -------------------------------------------------------------------------------------------------- counts */

adamoe_status adamoe_expert_use_create(size_t experts, adamoe_expert_use *out)
{
    *out = (adamoe_expert_use){.experts = experts,
                               .rows = calloc(experts, sizeof *out->rows),
                               .together = calloc(experts * experts, sizeof *out->together)};
    if (out->rows == NULL || out->together == NULL) {
        adamoe_expert_use_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "use of experts: out of memory");
    }
    return adamoe_ok();
}

void adamoe_expert_use_free(adamoe_expert_use *use)
{
    free(use->rows);
    free(use->together);
    *use = (adamoe_expert_use){0};
}

void adamoe_expert_use_add(adamoe_expert_use *use, const uint32_t *id, size_t tokens, size_t top_k)
{
    for (size_t t = 0; t < tokens; ++t) {
        const uint32_t *selected = id + t * top_k;
        for (size_t i = 0; i < top_k; ++i) {
            if (selected[i] >= use->experts) {
                continue;
            }
            ++use->rows[selected[i]];
            for (size_t j = 0; j < top_k; ++j) {
                if (j != i && selected[j] < use->experts) {
                    ++use->together[selected[i] * use->experts + selected[j]];
                }
            }
        }
    }
    use->tokens += tokens;
}

/* ---------------------------------------------------------------------------------------------- by load */

/* The heaviest expert without a rank; n where none is left. */
static size_t heaviest_left(const adamoe_expert_use *use, const uint32_t *rank_of_expert)
{
    size_t best = use->experts;
    for (size_t e = 0; e < use->experts; ++e) {
        if (rank_of_expert[e] == UINT32_MAX && (best == use->experts || use->rows[e] > use->rows[best])) {
            best = e;
        }
    }
    return best;
}

static adamoe_status place_by_load(const adamoe_expert_use *use, size_t ranks, uint32_t *rank_of_expert)
{
    const size_t room = adamoe_experts_of_rank(use->experts, ranks);
    uint64_t *rows = calloc(ranks, sizeof *rows);
    size_t *held = calloc(ranks, sizeof *held);
    if (rows == NULL || held == NULL) {
        free(rows);
        free(held);
        return adamoe_error(ADAMOE_ENVIRONMENT, "placement by load: out of memory");
    }
    memset(rank_of_expert, 0xff, use->experts * sizeof *rank_of_expert);
    for (size_t e; (e = heaviest_left(use, rank_of_expert)) < use->experts;) {
        size_t to = ranks;
        for (size_t r = 0; r < ranks; ++r) {
            if (held[r] < room && (to == ranks || rows[r] < rows[to])) {
                to = r;
            }
        }
        rank_of_expert[e] = (uint32_t)to;
        rows[to] += use->rows[e];
        ++held[to];
    }
    free(rows);
    free(held);
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- the orders */

adamoe_status adamoe_place_experts(adamoe_expert_order order, const adamoe_expert_use *use, size_t ranks,
                                   uint32_t *rank_of_expert)
{
    switch (order) {
    case ADAMOE_EXPERTS_LOAD:
        return place_by_load(use, ranks, rank_of_expert);
    case ADAMOE_EXPERTS_TOGETHER:
        return adamoe_partition(use->experts, use->rows, use->together, ranks,
                                adamoe_experts_of_rank(use->experts, ranks), rank_of_expert);
    default:
        for (size_t e = 0; e < use->experts; ++e) {
            rank_of_expert[e] =
                (uint32_t)(order == ADAMOE_EXPERTS_TURN ? e % ranks : e * ranks / use->experts);
        }
        return adamoe_ok();
    }
}

/*
 * Which rank holds which experts of a layer: in blocks, in turn, by the load that recorded routings showed, or so that
 * experts which the same tokens select stand together. Needs no MPI: an assignment is an array of ranks.
 *
 * A rank has room for so many experts and no more, ceil(experts / ranks): its memory decides that, not its load. Every
 * assignment keeps to it. Left out: copies of an expert on several ranks, and where tokens live. Rows that cross
 * depend on both: a token at home on a rank that holds none of its experts sends all its rows, whatever the
 * assignment. Co-activation saves messages, where one copy of a token serves all its experts on a rank.
 */
#ifndef ADAMOE_MPI_PLACEMENT_H
#define ADAMOE_MPI_PLACEMENT_H

#include "adamoe.h"

/* How often the tokens of one layer selected each true expert, and each two of them together. */
typedef struct adamoe_expert_use {
    size_t experts;     /* n */
    uint64_t tokens;    /* counted, those with null experts alone included */
    uint64_t *rows;     /* [n] tokens that selected it */
    uint64_t *together; /* [n, n] tokens that selected both; symmetric, 0 on the diagonal */
} adamoe_expert_use;

/* Nothing counted yet. Errors: memory. */
adamoe_status adamoe_expert_use_create(size_t experts, adamoe_expert_use *out);
void adamoe_expert_use_free(adamoe_expert_use *use);

/* Adds id [tokens, top_k], as adamoe_routing has them: from `experts` on they are null experts. The ids of a token
 * differ. */
void adamoe_expert_use_add(adamoe_expert_use *use, const uint32_t *id, size_t tokens, size_t top_k);

typedef enum adamoe_expert_order {
    ADAMOE_EXPERTS_BLOCK = 0, /* expert e on rank floor(e R / n) */
    ADAMOE_EXPERTS_TURN = 1,  /* expert e on rank e mod R */
    ADAMOE_EXPERTS_LOAD =
        2, /* longest processing time first: the heaviest expert that is left goes to the rank
                                      with the least rows that has room (Graham 1969) */
    ADAMOE_EXPERTS_TOGETHER =
        3,                /* by co-activation: the graph of experts, whose edges weigh `together` and whose
                                      vertices weigh `rows`, cut into R parts by METIS (partition.h) */
    ADAMOE_EXPERT_ORDERS, /* how many there are */
} adamoe_expert_order;

/* "block", "turn", "load", "together". */
extern const char *const adamoe_expert_order_names[ADAMOE_EXPERT_ORDERS];

/* Whether the order reads `use`. */
bool adamoe_expert_order_needs_use(adamoe_expert_order order);

/* Experts that a rank has room for. */
size_t adamoe_experts_of_rank(size_t experts, size_t ranks);

/* rank_of_expert [use->experts], values below `ranks`, which is at least 1. Ties go to the lower expert and the lower
 * rank, so that the same counts give the same assignment. Errors: ADAMOE_EXPERTS_TOGETHER in a build without METIS
 * (NOT_SUPPORTED); memory. */
adamoe_status adamoe_place_experts(adamoe_expert_order order, const adamoe_expert_use *use, size_t ranks,
                                   uint32_t *rank_of_expert);

#endif

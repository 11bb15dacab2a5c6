/*
 * Which rank the experts of each layer live on in a run: by their numbers alone, or by what a recording of the routing of
 * the same model shows (`adamoe eval --record-routing`), all its tokens counted.
 */
#ifndef ADAMOE_RANKS_ASSIGNMENT_H
#define ADAMOE_RANKS_ASSIGNMENT_H

#include "mpi/sharded.h"
#include "ranks/options.h"

typedef struct adamoe_rank_assignment {
    adamoe_expert_order order;
    size_t layers, experts;   /* of the recording */
    uint32_t *rank_of_expert; /* [layers, experts]; NULL: the order reads no recording */
} adamoe_rank_assignment;

/* As many layers as the recording has. */
#define ADAMOE_ANY_LAYERS SIZE_MAX

/* What a run is about: `name` of a model or a layer, for messages, how many layers of several experts it has, and how many
 * true experts each of them. */
typedef struct adamoe_rank_subject {
    const char *name;
    size_t layers, experts;
} adamoe_rank_subject;

/* Reads the recording that the options name, if any, and places the experts of every layer. Without messages: each rank
 * comes to the same. Errors: those of the recording, and one of another number of layers or true experts (BAD_INPUT), which
 * name the option and the file; placement by co-activation in a build without METIS (NOT_SUPPORTED); memory. */
adamoe_status adamoe_rank_assignment_create(const adamoe_rank_options *options,
                                            const adamoe_rank_subject *subject, uint32_t ranks,
                                            adamoe_rank_assignment *out);
void adamoe_rank_assignment_free(adamoe_rank_assignment *assignment);

/* As adamoe_assign; `assignment` is an adamoe_rank_assignment. A layer that no recording was checked against gets ranks that
 * there are not, which the kernel refuses. */
void adamoe_rank_assign(const void *assignment, size_t layer, size_t experts, uint32_t ranks,
                        uint32_t *rank_of_expert);

/* What the kernel over ranks is to be told; `assignment` must outlive it. */
adamoe_sharded_options adamoe_rank_sharded(const adamoe_rank_options *options,
                                           const adamoe_rank_assignment *assignment,
                                           const adamoe_world *world);

#endif

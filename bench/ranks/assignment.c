/*
 * Which rank the experts of each layer live on: see assignment.h.
 */
#include "ranks/assignment.h"
#include "layers/recorded_routing.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status check_recording(const char *path, const adamoe_recorded_routing *recorded,
                                     const adamoe_rank_subject *subject)
{
    if (recorded->mixture.experts != subject->experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--rank-recording: %.200s: %zu true experts, %.200s has %zu",
                            path, recorded->mixture.experts, subject->name, subject->experts);
    }
    return subject->layers == ADAMOE_ANY_LAYERS || recorded->layers == subject->layers
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT,
                              "--rank-recording: %.200s: %zu layer%s, %.200s has %zu with several experts",
                              path, recorded->layers, recorded->layers == 1 ? "" : "s", subject->name,
                              subject->layers);
}

static adamoe_status place_layer(const adamoe_recorded_routing *recorded, size_t layer,
                                 adamoe_expert_order order, uint32_t ranks, uint32_t *rank_of_expert)
{
    const size_t k = recorded->mixture.top_k;
    adamoe_expert_use use;
    ADAMOE_TRY(adamoe_expert_use_create(recorded->mixture.experts, &use));
    adamoe_expert_use_add(&use, recorded->id + layer * recorded->tokens * k, recorded->tokens, k);
    const adamoe_status status = adamoe_place_experts(order, &use, ranks, rank_of_expert);
    adamoe_expert_use_free(&use);
    return status;
}

static adamoe_status place_layers(const adamoe_recorded_routing *recorded, uint32_t ranks,
                                  adamoe_rank_assignment *out)
{
    out->layers = recorded->layers;
    out->experts = recorded->mixture.experts;
    out->rank_of_expert = calloc(out->layers * out->experts, sizeof *out->rank_of_expert);
    if (out->rank_of_expert == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "experts on ranks: out of memory");
    }
    for (size_t l = 0; l < out->layers; ++l) {
        ADAMOE_TRY(place_layer(recorded, l, out->order, ranks, out->rank_of_expert + l * out->experts));
    }
    return adamoe_ok();
}

adamoe_status adamoe_rank_assignment_create(const adamoe_rank_options *options,
                                            const adamoe_rank_subject *subject, uint32_t ranks,
                                            adamoe_rank_assignment *out)
{
    *out = (adamoe_rank_assignment){.order = options->experts};
    if (!adamoe_expert_order_needs_use(options->experts)) {
        return adamoe_ok();
    }
    adamoe_recorded_routing recorded;
    adamoe_status status = adamoe_recorded_routing_read(options->recording, &recorded);
    if (status.code != ADAMOE_OK) {
        return adamoe_error(status.code, "--rank-recording: %.480s", status.message);
    }
    status = check_recording(options->recording, &recorded, subject);
    if (status.code == ADAMOE_OK) {
        status = place_layers(&recorded, ranks, out);
    }
    adamoe_recorded_routing_free(&recorded);
    if (status.code != ADAMOE_OK) {
        adamoe_rank_assignment_free(out);
    }
    return status;
}

void adamoe_rank_assignment_free(adamoe_rank_assignment *assignment)
{
    free(assignment->rank_of_expert);
    assignment->rank_of_expert = NULL;
}

/* Neither of the orders by number reads counts, or can fail. */
void adamoe_rank_assign(const void *assignment, size_t layer, size_t experts, uint32_t ranks,
                        uint32_t *rank_of_expert)
{
    const adamoe_rank_assignment *a = assignment;
    const adamoe_expert_use none = {.experts = experts};
    if (!adamoe_expert_order_needs_use(a->order)) {
        (void)adamoe_place_experts(a->order, &none, ranks, rank_of_expert);
    } else if (layer < a->layers && experts == a->experts) {
        memcpy(rank_of_expert, a->rank_of_expert + layer * experts, experts * sizeof *rank_of_expert);
    } else {
        memset(rank_of_expert, 0xff, experts * sizeof *rank_of_expert);
    }
}

adamoe_sharded_options adamoe_rank_sharded(const adamoe_rank_options *options,
                                           const adamoe_rank_assignment *assignment,
                                           const adamoe_world *world)
{
    return (adamoe_sharded_options){.world = world,
                                    .assign = adamoe_rank_assign,
                                    .assign_context = assignment,
                                    .chunks = options->chunks,
                                    .overlap = !options->one_after_the_other};
}

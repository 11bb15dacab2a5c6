/*
 * What the rows of scored questions put on the wire: see wire_count.h.
 */
#include "eval/wire_count.h"

#include <stdlib.h>

adamoe_status adamoe_wire_count_create(const adamoe_sharded *sharded, const adamoe_world *world,
                                       adamoe_wire wire, size_t baseline_k, adamoe_wire_count *out)
{
    *out = (adamoe_wire_count){.sharded = sharded, .world = world, .wire = wire, .baseline_k = baseline_k};
    out->volume = calloc(world->ranks, sizeof *out->volume);
    return out->volume == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory") : adamoe_ok();
}

void adamoe_wire_count_free(adamoe_wire_count *c)
{
    free(c->volume);
    free(c->seen);
    free(c->choice);
    *c = (adamoe_wire_count){0};
}

static bool make_room(adamoe_wire_count *c, size_t tokens)
{
    if (tokens < c->room || c->failed) {
        return !c->failed;
    }
    free(c->seen);
    free(c->choice);
    c->seen = calloc(tokens + 1, sizeof *c->seen);
    c->choice = calloc(c->baseline_k + 1, (tokens + 1) * sizeof *c->choice);
    c->failed = c->seen == NULL || c->choice == NULL;
    c->room = c->failed ? 0 : tokens + 1;
    return !c->failed;
}

static uint64_t sum_of(const adamoe_wire_count *c)
{
    uint64_t bytes = 0;
    for (uint32_t r = 0; r < c->world->ranks; ++r) {
        bytes += c->volume[r].request_bytes + c->volume[r].result_bytes;
    }
    return bytes;
}

/* The k true experts with the largest logits, the lower id first where they are equal. */
static void choose_baseline(const float *logits, size_t experts, size_t k, uint32_t *id)
{
    for (size_t j = 0; j < k; ++j) {
        size_t best = SIZE_MAX;
        for (size_t e = 0; e < experts; ++e) {
            bool taken = false;
            for (size_t i = 0; i < j && !taken; ++i) {
                taken = id[i] == e;
            }
            if (!taken && (best == SIZE_MAX || logits[e] > logits[best])) {
                best = e;
            }
        }
        id[j] = (uint32_t)best;
    }
}

void adamoe_wire_count_routing(adamoe_wire_count *c, size_t layer, const adamoe_routing *routing)
{
    const uint32_t *owners = adamoe_sharded_assignment(c->sharded, layer);
    if (owners == NULL || !make_room(c, routing->tokens)) {
        return;
    }
    const uint32_t rank = c->world->rank, ranks = c->world->ranks;
    adamoe_volume_of_choices(routing->id, routing->tokens, routing->rule.top_k, routing->experts, owners,
                             rank, ranks, &c->wire, c->volume);
    c->bytes += sum_of(c);
    for (size_t t = 0; t < routing->tokens; ++t) {
        choose_baseline(routing->logits + t * (routing->experts + routing->null_experts), routing->experts,
                        c->baseline_k, c->choice + t * c->baseline_k);
    }
    adamoe_volume_of_choices(c->choice, routing->tokens, c->baseline_k, routing->experts, owners, rank, ranks,
                             &c->wire, c->volume);
    c->baseline += sum_of(c);
}

void adamoe_wire_count_plan(adamoe_wire_count *c, size_t layer, const adamoe_plan *plan)
{
    const uint32_t *owners = adamoe_sharded_assignment(c->sharded, layer);
    if (owners != NULL && make_room(c, plan->inputs)) {
        adamoe_volume_of_plan(plan, owners, c->world->rank, c->world->ranks, &c->wire, c->seen, c->volume);
        c->bytes += sum_of(c);
    }
}

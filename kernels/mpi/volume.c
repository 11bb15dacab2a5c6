/*
 * What one expert layer puts on the wire: see volume.h.
 */
#include "mpi/volume.h"

#include <string.h>

adamoe_wire adamoe_wire_of(const adamoe_kernel *kernel, size_t hidden_size)
{
    return (adamoe_wire){.hidden_size = hidden_size, .input_bytes = kernel->x == ADAMOE_BFLOAT16 ? 2 : 4};
}

void adamoe_volume_bytes(size_t owner_experts, const adamoe_wire *wire, adamoe_volume *v)
{
    v->request_bytes = ADAMOE_REQUEST_HEAD;
    if (v->rows > 0) {
        v->request_bytes += (owner_experts + v->rows) * sizeof(uint32_t);
        v->request_bytes += v->inputs * wire->hidden_size * wire->input_bytes;
    }
    v->result_bytes = v->rows * wire->hidden_size * sizeof(float);
}

static void fill_bytes(const uint32_t *rank_of_expert, size_t experts, uint32_t home, uint32_t ranks,
                       const adamoe_wire *wire, adamoe_volume *owner)
{
    for (uint32_t d = 0; d < ranks; ++d) {
        size_t own = 0;
        for (size_t e = 0; e < experts; ++e) {
            own += rank_of_expert[e] == d;
        }
        if (d != home) {
            adamoe_volume_bytes(own, wire, &owner[d]);
        }
    }
}

/* Rows of one expert after the other: an input was seen for its owner if that owner left its mark there last. Owners
 * take turns, so that no mark is lost. */
static void count_owner(const adamoe_plan *plan, const uint32_t *rank_of_expert, uint32_t d, uint32_t *seen,
                        adamoe_volume *v)
{
    for (size_t e = 0; e < plan->experts; ++e) {
        for (size_t r = plan->offset[e]; rank_of_expert[e] == d && r < plan->offset[e + 1]; ++r) {
            uint32_t *mark = &seen[plan->input[r]];
            v->inputs += plan->dispatch != NULL || *mark != d + 1;
            *mark = d + 1;
            ++v->rows;
        }
    }
}

void adamoe_volume_of_plan(const adamoe_plan *plan, const uint32_t *rank_of_expert, uint32_t home,
                           uint32_t ranks, const adamoe_wire *wire, uint32_t *seen, adamoe_volume *owner)
{
    memset(seen, 0, plan->inputs * sizeof *seen);
    for (uint32_t d = 0; d < ranks; ++d) {
        owner[d] = (adamoe_volume){0};
        count_owner(plan, rank_of_expert, d, seen, &owner[d]);
    }
    fill_bytes(rank_of_expert, plan->experts, home, ranks, wire, owner);
}

void adamoe_volume_of_choices(const uint32_t *id, size_t tokens, size_t k, size_t experts,
                              const uint32_t *rank_of_expert, uint32_t home, uint32_t ranks,
                              const adamoe_wire *wire, adamoe_volume *owner)
{
    memset(owner, 0, ranks * sizeof *owner);
    for (size_t t = 0; t < tokens; ++t) {
        const uint32_t *chosen = id + t * k;
        for (size_t j = 0; j < k; ++j) {
            if (chosen[j] >= experts) {
                continue;
            }
            const uint32_t d = rank_of_expert[chosen[j]];
            bool again = false;
            for (size_t i = 0; i < j && !again; ++i) {
                again = chosen[i] < experts && rank_of_expert[chosen[i]] == d;
            }
            owner[d].inputs += !again;
            ++owner[d].rows;
        }
    }
    fill_bytes(rank_of_expert, experts, home, ranks, wire, owner);
}

/*
 * What one expert layer puts on the wire when its experts live on several ranks: rows and bytes between each pair,
 * computed from the choice of experts alone. The counters of a run are equal to it to the byte.
 *
 * A home is a rank that has tokens, an owner one that has experts. For each layer a home sends a request to every other
 * rank, and gets the output of each row back:
 *   head              ADAMOE_REQUEST_HEAD bytes, also where there is nothing to compute
 *   rows of an expert 4 bytes for each expert of the owner   (these three only where there are rows)
 *   input of a row    4 bytes for each row
 *   inputs            hidden_size elements for each input that one of the rows reads: once for an owner, however many of
 *                     its experts read it. Where the plan has `dispatch`, inputs travel scaled, once for each row
 *   outputs           hidden_size float32 for each row, back
 * What a home needs of its own experts stays where it is. What the transport adds (MPI's envelopes, TCP's headers) is
 * not counted.
 */
#ifndef ADAMOE_MPI_VOLUME_H
#define ADAMOE_MPI_VOLUME_H

#include "adamoe.h"

#define ADAMOE_REQUEST_HEAD 32

/* How rows travel. */
typedef struct adamoe_wire {
    size_t hidden_size;
    size_t
        input_bytes; /* of one element: 2 where the kernel rounds x to bfloat16, which is done before; else 4 */
} adamoe_wire;

adamoe_wire adamoe_wire_of(const adamoe_kernel *kernel, size_t hidden_size);

/* Between one home and one owner in one layer; of a home and itself, what stays, without bytes. */
typedef struct adamoe_volume {
    uint64_t rows, inputs;
    uint64_t request_bytes; /* home to owner */
    uint64_t result_bytes;  /* owner to home */
} adamoe_volume;

/* The bytes of `owner_experts` experts' rows and inputs; those of volume->rows and volume->inputs are filled in. */
void adamoe_volume_bytes(size_t owner_experts, const adamoe_wire *wire, adamoe_volume *volume);

/* owner[d] = what `home` has with rank d for a plan; rank_of_expert is [plan->experts]. `seen` is room for plan->inputs
 * numbers. */
void adamoe_volume_of_plan(const adamoe_plan *plan, const uint32_t *rank_of_expert, uint32_t home,
                           uint32_t ranks, const adamoe_wire *wire, uint32_t *seen, adamoe_volume *owner);

/* The same for choices id [tokens, k] among `experts` true experts: an id that is not below `experts` is a null expert,
 * and no row. `owner` receives [ranks]. */
void adamoe_volume_of_choices(const uint32_t *id, size_t tokens, size_t k, size_t experts,
                              const uint32_t *rank_of_expert, uint32_t home, uint32_t ranks,
                              const adamoe_wire *wire, adamoe_volume *owner);

#endif

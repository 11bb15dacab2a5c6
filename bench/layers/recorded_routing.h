/*
 * Routing that a model really made: what `adamoe eval --record-routing` writes (routing_record.h), as ids or turned
 * back into logits.
 */
#ifndef ADAMOE_LAYERS_RECORDED_ROUTING_H
#define ADAMOE_LAYERS_RECORDED_ROUTING_H

#include "layers/routing_pattern.h"

/* All of a file. */
typedef struct adamoe_recorded_routing {
    adamoe_mixture mixture;
    size_t layers, tokens;
    uint32_t *id; /* [layers, tokens, top_k] */
} adamoe_recorded_routing;

/* Errors, which name the file (BAD_INPUT): metadata that is missing, no number or beyond 65,536; a tensor of another
 * shape, without tokens, or with ids that are out of range or twice in one token. Memory. */
adamoe_status adamoe_recorded_routing_read(const char *path, adamoe_recorded_routing *out);
void adamoe_recorded_routing_free(adamoe_recorded_routing *recorded);

/* The layer of so many that adamoe_recorded_logits draws by `seed`. */
size_t adamoe_recorded_layer(size_t layers, uint64_t seed);

/* logits [tokens, n + m] that select the recorded experts of consecutive tokens of one layer, in the recorded
 * order; the layer and the first token are drawn by `seed`, and after the layer's last token comes its first.
 * Selected experts have logits in (1, 2], evenly spaced, the others in (-2, -1]. Errors, which name the file
 * (BAD_INPUT): another number of true experts, null experts or selected ones than the mixture's; a tensor of
 * another shape, without tokens, or with ids that are out of range or twice in one token. */
adamoe_status adamoe_recorded_logits(const char *path, adamoe_mixture mixture, size_t tokens, uint64_t seed,
                                     float *logits);

#endif

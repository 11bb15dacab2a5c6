/*
 * The routing of a whole evaluation, kept and written: the traffic that a layer really sees, for benchmarks.
 *
 * The file is a safetensors file with `selected_experts` I64 [layers, tokens, top_k], ids in order of logits,
 * and num_local_experts, num_null_experts, num_experts_per_tok in its __metadata__.
 */
#ifndef ADAMOE_EVAL_ROUTING_RECORD_H
#define ADAMOE_EVAL_ROUTING_RECORD_H

#include "model.h"

typedef struct adamoe_routing_record adamoe_routing_record;

/* Errors: a dense model, which routes nothing (BAD_INPUT); memory. */
adamoe_status adamoe_routing_record_create(const adamoe_config *config, adamoe_routing_record **out);
void adamoe_routing_record_free(adamoe_routing_record *record);

/* Adds the tokens of one call of one layer. Running out of memory is reported by the write. */
void adamoe_routing_record_add(adamoe_routing_record *record, size_t layer, const adamoe_routing *routing);

/* Whole or not at all. Errors: memory, disk. */
adamoe_status adamoe_routing_record_write(const adamoe_routing_record *record, const adamoe_config *config,
                                          const char *path);

#endif

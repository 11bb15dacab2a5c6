/*
 * config.json of a checkpoint of one of the families in families.c.
 */
#ifndef ADAMOE_CONFIG_H
#define ADAMOE_CONFIG_H

#include "model.h"

/* Reads and checks config.json. What is not implemented is refused by name, never ignored: families that are not in
 * families.c, keys that keys.c does not know, types of rope_scaling that rope.c does not know, biases
 * (attention_bias, mlp_bias), hidden_act other than silu, layers that differ. head_dim defaults to hidden_size /
 * heads. num_null_experts absent: 0, and *null_experts_given is false, so that the checkpoint infers it from gate2.
 * The keys num_null_experts, `norm` and `null_kind` (names: adamoe_norm_names, adamoe_null_kind_names of router.h) are
 * ours. Errors: BAD_INPUT, "FILE: key: reason"; sizes of 0, heads not a multiple of
 * key_value_heads, an odd head_dim, top_k of 0 or above n + m (where num_null_experts is given), products that
 * overflow, numbers that float32 cannot hold. */
adamoe_status adamoe_config_read(const char *path, adamoe_config *out, bool *null_experts_given);

/* The same from text in memory; `path` is used in messages. */
adamoe_status adamoe_config_parse(const char *path, const char *text, size_t length, adamoe_config *out,
                                  bool *null_experts_given);

#endif

/*
 * A Hugging Face folder as a model: config.json, and model.safetensors or model.safetensors.index.json.
 */
#ifndef ADAMOE_CHECKPOINT_H
#define ADAMOE_CHECKPOINT_H

#include "config/config.h"
#include "routers/model/model_router.h"
#include "safetensors/safetensors.h"

typedef struct adamoe_checkpoint adamoe_checkpoint;

/* Maps the weights and checks every shape against the config. Expert names old
 * (block_sparse_moe.experts.{j}.w1) or fused (mlp.experts.gate_up_proj, down_proj), with or without `model.`
 * at the front. The number of null experts comes from gate2 and must agree with the config where that gives
 * one, and over layers. Unused tensors are an error that names the first one (rotary inverse frequencies
 * excepted): a bias that the config does not mention must not be ignored. A head that the config ties to the
 * embedding may be stored besides only where it is the same, bit for bit. */
adamoe_status adamoe_checkpoint_open(const char *folder, adamoe_checkpoint **out);

/* The one above refuses a folder that has a router of its own (router_file.h): its weights mean nothing without. This
 * one reads the router too; router->router is NULL where there is none. The caller frees *router. */
adamoe_status adamoe_checkpoint_open_routed(const char *folder, adamoe_checkpoint **out,
                                            adamoe_model_router *router);
void adamoe_checkpoint_close(adamoe_checkpoint *checkpoint);

/* Valid until close. */
const adamoe_model *adamoe_checkpoint_model(const adamoe_checkpoint *checkpoint);

/* The files behind it: their __metadata__ may say what the weights are. Valid until close. */
const adamoe_safetensors *adamoe_checkpoint_tensors(const adamoe_checkpoint *checkpoint);

/* Converts in memory: null_experts a multiple of n gives a checkpoint without null experts gate2 = copies of
 * gate's rows, repeated m/n times; 0 drops gate2. BAD_INPUT and no change: anything else; a positive number
 * where there are null experts already; a dense model; a rule whose top_k would be above n + m, so that who
 * drops null experts sets a smaller top_k first. */
adamoe_status adamoe_checkpoint_set_null_experts(adamoe_checkpoint *checkpoint, size_t null_experts);

/* Changes the rule. BAD_INPUT and no change: top_k of 0 or above n + m. */
adamoe_status adamoe_checkpoint_set_rule(adamoe_checkpoint *checkpoint, adamoe_rule rule);

/* An error that names tensor and element of the first NaN or infinity. Reads every weight once. */
adamoe_status adamoe_checkpoint_check_finite(const adamoe_checkpoint *checkpoint);

/* One layer with its inputs out of a file with names as in reference/README.md section 8, old or fused,
 * without the `model.layers.{i}.` prefix. Sizes come from the shapes; what __metadata__ says of them
 * (num_local_experts, num_null_experts, hidden_size, intermediate_size, tokens) must agree. The rule comes
 * from __metadata__ (num_experts_per_tok, norm, null_kind); top_k is 0 in `rule` where the file does not say.
 * Errors: a size of 0, no tokens, a tensor that is named like a part of the layer but is none. NaN is not
 * looked for: adamoe_safetensors_check_finite does that. */
typedef struct adamoe_layer_file adamoe_layer_file;

adamoe_status adamoe_layer_file_open(const char *path, adamoe_layer_file **out);
void adamoe_layer_file_close(adamoe_layer_file *file);
const adamoe_layer *adamoe_layer_file_layer(const adamoe_layer_file *file);
adamoe_rule adamoe_layer_file_rule(const adamoe_layer_file *file);
const adamoe_safetensors *adamoe_layer_file_tensors(const adamoe_layer_file *file);

/* The name of the router that __metadata__ asks for, or NULL: AdaMoE's rule. Where there is one, the layer has no
 * gates and no null experts, its experts are those of the file, and the tensors that are named as the second
 * function says are for the router (router_inputs.h). */
const char *adamoe_layer_file_router(const adamoe_layer_file *file);
bool adamoe_layer_file_is_for_router(const char *name);

/* hidden_states [tokens, hidden_size], widened to float32; owned by the file. */
const float *adamoe_layer_file_hidden_states(const adamoe_layer_file *file, size_t *tokens);

#endif

/*
 * A folder of adapters: what training has put beside a frozen dense model that it only refers to.
 *
 * adapter_config.json, an object whose keys are PEFT's where PEFT has them:
 *   "peft_type": "LORA", "adamoe_format": 1,
 *   "base_model_name_or_path": the base's folder; a relative path begins at this folder,
 *   "r", "lora_alpha", "target_modules": rank, alpha, and the names of the seven maps of a Llama layer,
 *   "num_lora_experts": n; absent: plain LoRA, without routers,
 *   "num_null_experts", "num_experts_per_tok", "norm": m, k and one of adamoe_norm_names; with n alone.
 * adapters.safetensors, for each map model.layers.{i}.{self_attn.q_proj, ...}, in any floating-point type:
 *   .lora_A [n r, in]       row e r + i is row i of expert e's A
 *   .lora_B [n r, out]      row e r + i is column i of expert e's B
 *   .lora_router [n + m, in], true experts first; not for plain LoRA.
 */
#ifndef ADAMOE_ADAPTERS_H
#define ADAMOE_ADAPTERS_H

#include "lora/lora_model.h"
#include "safetensors/safetensors.h"

typedef struct adamoe_adapters adamoe_adapters;

/* True where a folder has an adapter_config.json. */
bool adamoe_adapters_in(const char *folder);

/* Reads the config and checks the header of the tensors, whose values must be finite. Errors (BAD_INPUT),
 * "FILE: place: reason": a key that is missing or unknown in value, maps that are not the seven, sizes out of
 * range; what adamoe_safetensors_open reports. */
adamoe_status adamoe_adapters_open(const char *folder, adamoe_adapters **out);
void adamoe_adapters_close(adamoe_adapters *adapters);

/* The base's folder, from where the program stands. Valid until close. */
const char *adamoe_adapters_base(const adamoe_adapters *adapters);
adamoe_lora_sizes adamoe_adapters_sizes(const adamoe_adapters *adapters);

/* out [rows, columns] = a tensor, widened. Errors: missing, or of another shape. */
adamoe_status adamoe_adapters_read(const adamoe_adapters *adapters, const char *name, size_t rows,
                                   size_t columns, float *out);

/* How many tensors there are: a reader that has read as many has read all. */
size_t adamoe_adapters_count(const adamoe_adapters *adapters);

/* Writes adapter_config.json and, last of all, adapters.safetensors with `run` in its metadata. Errors: disk,
 * memory. */
adamoe_status adamoe_adapters_write(const char *folder, const char *base, const adamoe_lora_sizes *sizes,
                                    const adamoe_tensor *tensors, size_t count, const char *run);

#endif

/*
 * A folder of adapters, opened: its base, and the adapters in float32.
 */
#ifndef ADAMOE_EVAL_ADAPTED_MODEL_H
#define ADAMOE_EVAL_ADAPTED_MODEL_H

#include "program/model_folder.h"
#include "train/lora/lora_parameters.h"

/* Errors: as adamoe_adapters_open and adamoe_model_folder_open; a base that is not dense; a tensor that is
 * missing, of another shape, or not one of the model's. On failure nothing stays open; otherwise the caller
 * frees *lora, then closes *base. */
adamoe_status adamoe_adapted_model_open(const char *folder, adamoe_model_folder *base,
                                        adamoe_lora_parameters **lora);

#endif

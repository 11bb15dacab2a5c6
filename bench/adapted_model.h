/*
 * A folder of adapters, opened: its base, and the adapters in float32.
 */
#ifndef ADAMOE_ADAPTED_MODEL_H
#define ADAMOE_ADAPTED_MODEL_H

#include "model_folder.h"
#include "train/lora_parameters.h"

typedef struct adamoe_adapted_model {
    adamoe_model_folder base;
    adamoe_lora_parameters *lora; /* NULL: nothing is open */
} adamoe_adapted_model;

/* Errors: as adamoe_adapters_open and adamoe_model_folder_open; a base that is not dense; a tensor that is
 * missing, of another shape, or not one of the model's. On failure nothing stays open. */
adamoe_status adamoe_adapted_model_open(const char *folder, adamoe_adapted_model *out);
void adamoe_adapted_model_close(adamoe_adapted_model *model);

#endif

/*
 * A folder of adapters, opened.
 */
#include "adapted_model.h"
#include "adapters.h"

static adamoe_status read_all(const adamoe_adapters *adapters, const char *folder,
                              const adamoe_lora_parameters *lora)
{
    for (size_t i = 0; i < lora->tensors; ++i) {
        const adamoe_lora_tensor *tensor = &lora->tensor[i];
        ADAMOE_TRY(adamoe_adapters_read(adapters, tensor->name, tensor->rows, tensor->columns,
                                        lora->value + tensor->first));
    }
    return adamoe_adapters_count(adapters) == lora->tensors
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s/adapters.safetensors: %zu tensors, but the model has %zu",
                              folder, adamoe_adapters_count(adapters), lora->tensors);
}

static adamoe_status open_base(const adamoe_adapters *adapters, const char *folder, adamoe_adapted_model *out)
{
    const adamoe_lora_sizes sizes = adamoe_adapters_sizes(adapters);
    ADAMOE_TRY(adamoe_model_folder_open(adamoe_adapters_base(adapters), &out->base));
    const adamoe_status status =
        adamoe_lora_parameters_create(adamoe_checkpoint_model(out->base.checkpoint), &sizes, &out->lora);
    if (status.code == ADAMOE_BAD_INPUT) {
        return adamoe_error(status.code, "%s/adapter_config.json: %.400s", folder, status.message);
    }
    ADAMOE_TRY(status);
    return read_all(adapters, folder, out->lora);
}

adamoe_status adamoe_adapted_model_open(const char *folder, adamoe_adapted_model *out)
{
    adamoe_adapters *adapters = NULL;
    *out = (adamoe_adapted_model){.lora = NULL};
    ADAMOE_TRY(adamoe_adapters_open(folder, &adapters));
    const adamoe_status status = open_base(adapters, folder, out);
    adamoe_adapters_close(adapters);
    if (status.code != ADAMOE_OK) {
        adamoe_adapted_model_close(out);
    }
    return status;
}

void adamoe_adapted_model_close(adamoe_adapted_model *model)
{
    adamoe_lora_parameters_free(model->lora);
    adamoe_model_folder_close(&model->base);
    *model = (adamoe_adapted_model){.lora = NULL};
}

/*
 * A folder of adapters, opened.
 */
#include "eval/adapted_model.h"
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

static adamoe_status open_on(const adamoe_adapters *adapters, const char *folder,
                             const adamoe_model_folder *base, adamoe_lora_parameters **out)
{
    const adamoe_lora_sizes sizes = adamoe_adapters_sizes(adapters);
    adamoe_status status =
        adamoe_lora_parameters_create(adamoe_checkpoint_model(base->checkpoint), &sizes, out);
    if (status.code == ADAMOE_BAD_INPUT) {
        return adamoe_error(status.code, "%s/adapter_config.json: %.400s", folder, status.message);
    }
    ADAMOE_TRY(status);
    status = read_all(adapters, folder, *out);
    if (status.code != ADAMOE_OK) {
        adamoe_lora_parameters_free(*out);
        *out = NULL;
    }
    return status;
}

adamoe_status adamoe_adapted_model_open(const char *folder, adamoe_model_folder *base,
                                        adamoe_lora_parameters **lora)
{
    adamoe_adapters *adapters = NULL;
    *base = (adamoe_model_folder){.checkpoint = NULL};
    *lora = NULL;
    ADAMOE_TRY(adamoe_adapters_open(folder, &adapters));
    adamoe_status status = adamoe_model_folder_open(adamoe_adapters_base(adapters), base);
    if (status.code == ADAMOE_OK) {
        status = open_on(adapters, folder, base, lora);
        if (status.code != ADAMOE_OK) {
            adamoe_model_folder_close(base);
        }
    }
    adamoe_adapters_close(adapters);
    return status;
}

/*
 * Any bytes as model.safetensors.index.json, in a folder without shards: always an error, and nothing outside
 * the folder is opened.
 */
#include "safetensors/safetensors.h"
#include "input_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = write_input("model.safetensors.index.json", data, size);
    adamoe_safetensors *file = NULL;
    const adamoe_status status = adamoe_safetensors_open(path, &file);
    /* Whatever file an error is about, it stands in the folder. */
    if (status.code == ADAMOE_OK || strncmp(status.message, input_folder, strlen(input_folder)) != 0 ||
        strstr(status.message, "/../") == status.message + strlen(input_folder)) {
        abort();
    }
    return 0;
}

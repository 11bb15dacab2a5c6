/*
 * Any bytes as adapter_config.json, in a folder without tensors: always an error, which names a file of the
 * folder and its fault.
 */
#include "adapters.h"
#include "input_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)write_input("adapter_config.json", data, size);
    adamoe_adapters *adapters = NULL;
    const adamoe_status status = adamoe_adapters_open(input_folder, &adapters);
    if (status.code == ADAMOE_OK || adapters != NULL ||
        strncmp(status.message, input_folder, strlen(input_folder)) != 0) {
        abort();
    }
    return 0;
}

/*
 * Any bytes as a safetensors file: an error, or tensors that cover the data section exactly.
 */
#include "numbers.h"
#include "safetensors/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_tensors(const adamoe_safetensors *file, const uint8_t *data, size_t size)
{
    const uint8_t *next = NULL;
    for (size_t i = 0; i < adamoe_safetensors_count(file); ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_at(file, i);
        const size_t bytes = tensor->elements * adamoe_dtype_bytes(tensor->dtype);
        const uint8_t *begin = tensor->data;
        size_t elements = 1;
        for (size_t j = 0; j < tensor->rank; ++j) {
            elements *= tensor->shape[j];
        }
        require(elements == tensor->elements);
        require(begin >= data + 8 && begin <= data + size && bytes <= (size_t)(data + size - begin));
        require(next == NULL || next == begin);
        require(adamoe_safetensors_find(file, tensor->name) == tensor);
        next = begin + bytes;
    }
    require(next == NULL || next == data + size);
}

static void parse(const uint8_t *data, size_t size)
{
    adamoe_safetensors *file = NULL;
    const adamoe_status status = adamoe_safetensors_parse("fuzz", data, size, &file);
    require((status.code == ADAMOE_OK) == (file != NULL));
    require((status.code == ADAMOE_OK) == (status.message[0] == '\0'));
    if (file != NULL) {
        adamoe_matrix matrix;
        check_tensors(file, data, size);
        (void)adamoe_safetensors_check_finite(file);
        (void)adamoe_safetensors_matrix(file, "a", 2, 2, &matrix);
        (void)adamoe_safetensors_metadata(file, "format");
    }
    adamoe_safetensors_close(file);
}

/* Once as it is, and once with the length set to where the header seems to end: otherwise nearly every change
 * stops at the length. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size);
    const uint8_t *brace = size < 9 ? NULL : memrchr(data + 8, '}', size - 8);
    uint8_t *copy = brace == NULL ? NULL : malloc(size);
    if (copy != NULL) {
        const uint64_t length = (uint64_t)(brace - (data + 8)) + 1;
        memcpy(copy, data, size);
        for (size_t i = 0; i < 8; ++i) {
            copy[i] = (uint8_t)(length >> (8 * i));
        }
        parse(copy, size);
        free(copy);
    }
    return 0;
}

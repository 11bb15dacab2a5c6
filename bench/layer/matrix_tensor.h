/*
 * A matrix as a tensor of a file that `adamoe layer` writes.
 */
#ifndef ADAMOE_LAYER_MATRIX_TENSOR_H
#define ADAMOE_LAYER_MATRIX_TENSOR_H

#include "safetensors/safetensors.h"

/* Of [rows, columns]; data and name must live until the file is written. */
static inline adamoe_tensor adamoe_matrix_tensor(const char *name, adamoe_dtype dtype, size_t rows,
                                                 size_t columns, const void *data)
{
    return (adamoe_tensor){.name = name,
                           .dtype = dtype,
                           .rank = 2,
                           .shape = {rows, columns},
                           .elements = rows * columns,
                           .data = data};
}

#endif

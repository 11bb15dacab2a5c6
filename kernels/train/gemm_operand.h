/*
 * An operand of a product of float32 matrices, as gemm.h multiplies it and gemm_pack.h packs it.
 */
#ifndef ADAMOE_TRAIN_GEMM_OPERAND_H
#define ADAMOE_TRAIN_GEMM_OPERAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row-major matrix of which all rows, or those on a list, are used. */
typedef struct adamoe_gemm_operand {
    const float *data;
    size_t stride;        /* floats from row to row */
    const uint32_t *list; /* row i stands at data + list[i] * stride; NULL: at data + i * stride */
    bool transposed;      /* the operand is the transpose of what stands there */
} adamoe_gemm_operand;

#endif

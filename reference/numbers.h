/*
 * Reading stored numbers and rounding operands the way a kernel declares that it does.
 */
#ifndef ADAMOE_NUMBERS_H
#define ADAMOE_NUMBERS_H

#include "adamoe.h"

/* Bytes of one element. */
size_t adamoe_dtype_bytes(adamoe_dtype dtype);

/* "F32", "F16", "BF16", "I64": the names that safetensors uses. */
const char *adamoe_dtype_name(adamoe_dtype dtype);

/* "float32", "bfloat16", "int8", "int32", "float64". */
const char *adamoe_arithmetic_name(adamoe_arithmetic arithmetic);

/* Bytes of one element of an operand as a kernel stores it: int8 1, bfloat16 2, any other 4. */
size_t adamoe_arithmetic_bytes(adamoe_arithmetic arithmetic);

/* Widening is exact: every F16 and BF16 value is a float32 value. */
float adamoe_f16_to_float(uint16_t bits);
float adamoe_bf16_to_float(uint16_t bits);

/* To nearest, ties to even; overflow gives infinity, NaN stays NaN. */
uint16_t adamoe_float_to_bf16(float value);
uint16_t adamoe_float_to_f16(float value);

/* Element `index` of an array of `dtype` (not I64). The array may be unaligned. */
float adamoe_element(const void *data, adamoe_dtype dtype, size_t index);

/* Rounds `value` to `dtype` (not I64) and makes it element `index`. The array may be unaligned. */
void adamoe_set_element(void *data, adamoe_dtype dtype, size_t index, float value);

/* Element [row, column] of a matrix. */
double adamoe_matrix_at(const adamoe_matrix *matrix, size_t row, size_t column);

/* Copies row `row` of a matrix, widened, to out[columns]. */
void adamoe_matrix_row(const adamoe_matrix *matrix, size_t row, double *out);

/* Rounds values[count] in place as `arithmetic` says (reference/README.md section 4): to float32; to
 * bfloat16, to nearest even; or to int8 steps of one scale for the whole array, s = max(abs) / 127 computed
 * in float32, q = round-half-even(x / s) within -127 .. 127, the value s * q. For FLOAT64 and INT32 nothing
 * changes. */
void adamoe_round_operand(adamoe_arithmetic arithmetic, double *values, size_t count);

#endif

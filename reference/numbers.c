/*
 * Reading stored numbers, and rounding operands the way a kernel declares that it does (reference/README.md
 * section 4). Every conversion is written out in bits, so that it depends on no compiler flag and no
 * instruction set.
 */
#include "numbers.h"

#include <math.h>
#include <string.h>

size_t adamoe_dtype_bytes(adamoe_dtype dtype)
{
    switch (dtype) {
    case ADAMOE_F32:
        return 4;
    case ADAMOE_F16:
    case ADAMOE_BF16:
        return 2;
    case ADAMOE_I64:
        return 8;
    }
    return 0;
}

const char *adamoe_dtype_name(adamoe_dtype dtype)
{
    static const char *const name[] = {"F32", "F16", "BF16", "I64"};
    return name[dtype];
}

const char *adamoe_arithmetic_name(adamoe_arithmetic arithmetic)
{
    static const char *const name[] = {"float32", "bfloat16", "int8", "int32", "float64"};
    return name[arithmetic];
}

size_t adamoe_arithmetic_bytes(adamoe_arithmetic arithmetic)
{
    switch (arithmetic) {
    case ADAMOE_INT8:
        return 1;
    case ADAMOE_BFLOAT16:
        return 2;
    default:
        return 4;
    }
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float adamoe_f16_to_float(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu;
    const uint32_t fraction = bits & 0x3ffu;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        const float magnitude = ldexpf((float)fraction, -24);
        return sign != 0 ? -magnitude : magnitude;
    }
    if (exponent == 0x1f) { /* infinity or NaN */
        return float_of_bits(sign | 0x7f800000u | fraction << 13);
    }
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

float adamoe_bf16_to_float(uint16_t bits)
{
    return float_of_bits((uint32_t)bits << 16);
}

uint16_t adamoe_float_to_bf16(float value)
{
    const uint32_t bits = bits_of_float(value);
    if (isnan(value)) {
        return (uint16_t)(bits >> 16 | 0x40u); /* keep it a NaN when its low bits are cut off */
    }
    const uint32_t lowest_kept = (bits >> 16) & 1u;
    return (uint16_t)((bits + 0x7fffu + lowest_kept) >> 16);
}

uint16_t adamoe_float_to_f16(float value)
{
    const uint16_t sign = (uint16_t)(bits_of_float(value) >> 16 & 0x8000u);
    const float magnitude = fabsf(value);
    if (isnan(value)) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (magnitude >= 65520.0f) { /* halfway between the largest number and the next, which is infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x1p-14f) { /* subnormal: a count of 2^-24; scaling is exact, rintf rounds to even */
        return (uint16_t)(sign | (uint16_t)rintf(magnitude * 0x1p24f));
    }
    const uint32_t bits = bits_of_float(magnitude);
    const uint32_t rounded = bits + 0xfffu + ((bits >> 13) & 1u);
    return (uint16_t)(sign | (uint16_t)((rounded >> 13) - (112u << 10)));
}

float adamoe_element(const void *data, adamoe_dtype dtype, size_t index)
{
    const unsigned char *at = (const unsigned char *)data + index * adamoe_dtype_bytes(dtype);
    uint16_t half;
    float single;
    if (dtype == ADAMOE_F32) {
        memcpy(&single, at, sizeof single);
        return single;
    }
    memcpy(&half, at, sizeof half);
    return dtype == ADAMOE_F16 ? adamoe_f16_to_float(half) : adamoe_bf16_to_float(half);
}

void adamoe_set_element(void *data, adamoe_dtype dtype, size_t index, float value)
{
    unsigned char *at = (unsigned char *)data + index * adamoe_dtype_bytes(dtype);
    if (dtype == ADAMOE_F32) {
        memcpy(at, &value, sizeof value);
    } else {
        const uint16_t half = dtype == ADAMOE_F16 ? adamoe_float_to_f16(value) : adamoe_float_to_bf16(value);
        memcpy(at, &half, sizeof half);
    }
}

double adamoe_matrix_at(const adamoe_matrix *matrix, size_t row, size_t column)
{
    return (double)adamoe_element(matrix->data, matrix->dtype, row * matrix->columns + column);
}

void adamoe_matrix_row(const adamoe_matrix *matrix, size_t row, double *out)
{
    for (size_t column = 0; column < matrix->columns; ++column) {
        out[column] = adamoe_matrix_at(matrix, row, column);
    }
}

/* One int8 scale for the whole array; the quotient is rounded in float32, as a kernel does it.
 * Where the scale is subnormal its own rounding can lift the quotient past 127 (190 * 2^-149 over
 * a scale of 2^-149). */
static void round_to_int8(double *values, size_t count)
{
    float largest = 0.0f;
    for (size_t i = 0; i < count; ++i) {
        largest = fmaxf(largest, fabsf((float)values[i]));
    }
    const float scale = largest / 127.0f;
    for (size_t i = 0; i < count; ++i) {
        const float q = scale == 0.0f ? 0.0f : rintf((float)values[i] / scale);
        values[i] = (double)scale * (double)fmaxf(-127.0f, fminf(127.0f, q));
    }
}

void adamoe_round_operand(adamoe_arithmetic arithmetic, double *values, size_t count)
{
    switch (arithmetic) {
    case ADAMOE_FLOAT32:
        for (size_t i = 0; i < count; ++i) {
            values[i] = (double)(float)values[i];
        }
        break;
    case ADAMOE_BFLOAT16:
        for (size_t i = 0; i < count; ++i) {
            values[i] = (double)adamoe_bf16_to_float(adamoe_float_to_bf16((float)values[i]));
        }
        break;
    case ADAMOE_INT8:
        round_to_int8(values, count);
        break;
    case ADAMOE_INT32:
    case ADAMOE_FLOAT64:
        break;
    }
}

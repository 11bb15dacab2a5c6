/*
 * The project's own kernels: packed weights on AVX2 and AVX-512.
 */
#ifndef ADAMOE_PACKED_KERNELS_H
#define ADAMOE_PACKED_KERNELS_H

#include "adamoe.h"

extern const adamoe_kernel adamoe_avx2_f32_kernel, adamoe_avx2_bf16_kernel, adamoe_avx2_int8_kernel;
extern const adamoe_kernel adamoe_avx512_f32_kernel, adamoe_avx512_bf16_kernel, adamoe_avx512_dpbf16_kernel,
    adamoe_avx512_int8_kernel;

#endif

/*
 * The project's own kernels: packed weights on AVX2 and AVX-512.
 */
#ifndef ADAMOE_PACKED_KERNELS_H
#define ADAMOE_PACKED_KERNELS_H

#include "adamoe.h"

/* From slow to fast: [adamoe_packed_kernel_count]. All are listed; `supported` says what runs here. */
extern const adamoe_kernel *const adamoe_packed_kernels[];
extern const size_t adamoe_packed_kernel_count;

#endif

/*
 * The kernels that stand on oneDNN.
 */
#ifndef ADAMOE_ONEDNN_KERNEL_H
#define ADAMOE_ONEDNN_KERNEL_H

#include "adamoe.h"

extern const adamoe_kernel adamoe_onednn_f32_kernel;  /* everything in float32 */
extern const adamoe_kernel adamoe_onednn_bf16_kernel; /* x, h and weights in bfloat16, sums in float32 */

#endif

/*
 * The reference as a kernel.
 */
#ifndef ADAMOE_KERNEL_KERNEL_H
#define ADAMOE_KERNEL_KERNEL_H

#include "adamoe.h"

/* The definition as a kernel: float32 operands, double sums, one thread. */
extern const adamoe_kernel adamoe_reference_kernel;

#endif

/*
 * What a kernel must bring to take part in a kind of case.
 */
#ifndef ADAMOE_CHECK_KINDS_NEEDS_H
#define ADAMOE_CHECK_KINDS_NEEDS_H

#include "adamoe.h"

/* Why not, or NULL where it has a dense product. */
static inline const char *adamoe_missing_product(const adamoe_kernel *kernel)
{
    return kernel->multiply == NULL ? "the kernel has no dense product" : NULL;
}

#endif

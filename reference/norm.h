/*
 * RMSNorm.
 */
#ifndef ADAMOE_NORM_H
#define ADAMOE_NORM_H

#include "adamoe.h"

/* out = x / sqrt(mean(x^2) + eps) * gain. x, out, which may be the same, are [count, columns of gain]; gain is [1, columns]. */
void adamoe_rms_norm(const adamoe_matrix *gain, double eps, const float *x, size_t count, float *out);

#endif

/*
 * Products of the batched forward pass on its kernel; not for others.
 */
#ifndef ADAMOE_MODEL_PRODUCTS_H
#define ADAMOE_MODEL_PRODUCTS_H

#include "model/forward_parts.h"

/* y = x . matrix^T for `rows` rows, by a crew. Errors: memory; those of the kernel. */
adamoe_status forward_multiply(const adamoe_forward *forward, forward_crew *crew,
                               adamoe_prepared_matrix *matrix, const float *x, size_t rows, float *y);

/* The error for a logit that is NaN or infinite. A position in the words of the caller: the batch's rows are
 * not known to it. */
adamoe_status forward_not_finite(const char *what, size_t segment, size_t position, const char *kind,
                                 size_t i, float value);

#endif

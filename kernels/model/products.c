/*
 * A product on the forward pass's kernel, in a workspace that grows with what it asks for.
 */
#include "model/products.h"

#include <math.h>

adamoe_status forward_multiply(const adamoe_forward *forward, forward_crew *crew,
                               adamoe_prepared_matrix *matrix, const float *x, size_t rows, float *y)
{
    ADAMOE_TRY(forward_reserve_work(crew, forward->kernel->matrix_work_bytes(matrix, rows)));
    return forward->kernel->multiply(matrix, &crew->run, x, rows, y);
}

adamoe_status forward_not_finite(const char *what, size_t segment, size_t position, const char *kind,
                                 size_t i, float value)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%ssegment %zu, token %zu: logit of %s %zu is %s", what, segment,
                        position, kind, i, isnan(value) ? "NaN" : "infinite");
}

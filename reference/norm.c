/*
 * RMSNorm: x / sqrt(mean(x^2) + eps) * gain (reference/README.md section 8).
 */
#include "norm.h"
#include "numbers.h"

#include <math.h>

void adamoe_rms_norm(const adamoe_matrix *gain, double eps, const float *x, size_t count, float *out)
{
    const size_t d = gain->columns;
    for (size_t t = 0; t < count; ++t) {
        double squares = 0.0;
        for (size_t c = 0; c < d; ++c) {
            squares += (double)x[t * d + c] * (double)x[t * d + c];
        }
        const double root = sqrt(squares / (double)d + eps);
        for (size_t c = 0; c < d; ++c) {
            out[t * d + c] = (float)((double)x[t * d + c] / root * adamoe_matrix_at(gain, 0, c));
        }
    }
}

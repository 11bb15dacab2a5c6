/*
 * RMSNorm in double, and its gradient.
 */
#include "gradient/gradient.h"
#include "numbers.h"

#include <math.h>

/* sqrt(mean(x^2) + eps) */
static double root_mean_square(const double *x, size_t count, double eps)
{
    double squares = 0.0;
    for (size_t c = 0; c < count; ++c) {
        squares += x[c] * x[c];
    }
    return sqrt(squares / (double)count + eps);
}

void adamoe_rms_norm_double(const adamoe_matrix *gain, double eps, const double *x, double *y)
{
    const double root = root_mean_square(x, gain->columns, eps);
    for (size_t c = 0; c < gain->columns; ++c) {
        y[c] = x[c] / root * adamoe_matrix_at(gain, 0, c);
    }
}

/* With r the root and d the width, dr/dx_c = x_c / (d r), hence
 *   dx_c = g_c dy_c / r - x_c / (d r^3) * sum over i of g_i dy_i x_i. */
void adamoe_rms_norm_backward(const adamoe_matrix *gain, double eps, const double *x, const double *dy,
                              double *dx, double *dgain)
{
    const size_t d = gain->columns;
    const double root = root_mean_square(x, d, eps);
    double sum = 0.0;
    for (size_t c = 0; c < d; ++c) {
        sum += adamoe_matrix_at(gain, 0, c) * dy[c] * x[c];
    }
    for (size_t c = 0; c < d; ++c) {
        if (dx != NULL) {
            dx[c] +=
                adamoe_matrix_at(gain, 0, c) * dy[c] / root - x[c] * sum / ((double)d * root * root * root);
        }
        if (dgain != NULL) {
            dgain[c] += dy[c] * x[c] / root;
        }
    }
}

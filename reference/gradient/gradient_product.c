/*
 * The gradient of a matrix-vector product.
 */
#include "gradient/gradient.h"
#include "numbers.h"

void adamoe_product_backward(const adamoe_matrix *matrix, const double *x, const double *dy, double *dx,
                             double *dmatrix)
{
    const size_t columns = matrix->columns;
    for (size_t r = 0; r < matrix->rows; ++r) {
        for (size_t c = 0; c < columns; ++c) {
            if (dx != NULL) {
                dx[c] += adamoe_matrix_at(matrix, r, c) * dy[r];
            }
            if (dmatrix != NULL) {
                dmatrix[r * columns + c] += dy[r] * x[c];
            }
        }
    }
}

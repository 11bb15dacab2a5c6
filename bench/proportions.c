/*
 * Two models on the same questions.
 */
#include "statistics.h"

#include <math.h>

double adamoe_mcnemar(size_t lost, size_t won)
{
    const double n = (double)(lost + won);
    const size_t fewer = lost < won ? lost : won;
    double tail = 0.0;
    for (size_t i = 0; i <= fewer; ++i) {
        const double k = (double)i;
        tail += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) - n * log(2.0));
    }
    return fmin(1.0, 2.0 * tail);
}

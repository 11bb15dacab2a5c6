/*
 * The regularised incomplete beta function, and with it the angle between random directions, which LocMoE takes
 * its least capacity from.
 */
#include "routers/parts.h"

#include <float.h>
#include <math.h>

/* The continued fraction 1/(1 + d_1/(1 + d_2/(1 + ... of I_x(a, b), by Lentz's method, which begins with 1 before
 * it. The coefficients are
 *   d_(2m)   =  m (b - m) x / ((a + 2m - 1)(a + 2m))
 *   d_(2m+1) = -(a + m)(a + b + m) x / ((a + 2m)(a + 2m + 1))
 * It converges fast for x < (a + 1) / (a + b + 2). */
static double continued_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double value = 1.0, c = 1.0, d = 0.0;
    for (int j = 0; j < 100000; ++j) {
        const double m = j / 2;
        double numerator = 1.0; /* of the first step */
        if (j > 0 && j % 2 == 0) {
            numerator = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        } else if (j > 0) {
            numerator = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        }
        d = 1.0 + numerator * d;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = 1.0 + numerator / c;
        c = fabs(c) < tiny ? tiny : c;
        const double factor = c * d;
        value *= factor;
        if (j > 0 && fabs(factor - 1.0) < DBL_EPSILON) {
            break;
        }
    }
    return value - 1.0;
}

double adamoe_incomplete_beta(double x, double a, double b)
{
    if (x <= 0.0 || x >= 1.0) {
        return x <= 0.0 ? 0.0 : 1.0;
    }
    if (x > (a + 1.0) / (a + b + 2.0)) {
        return 1.0 - adamoe_incomplete_beta(1.0 - x, b, a);
    }
    const double front =
        exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)); /* x^a (1-x)^b / B(a, b) */
    return front / a * continued_fraction(x, a, b);
}

/* 1 - I_(delta^2)(1/2, (d - 1)/2), from the other end, where small probabilities keep their digits. */
double adamoe_cosine_tail(double delta, size_t hidden_size)
{
    return hidden_size == 1 ? 1.0
                            : adamoe_incomplete_beta((1.0 - delta) * (1.0 + delta),
                                                     ((double)hidden_size - 1.0) / 2.0, 0.5);
}

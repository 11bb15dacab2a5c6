/*
 * Student's t for whole degrees of freedom, and the mean of a few values with its interval.
 */
#include "statistics/statistics.h"

#include <math.h>

/* Abramowitz and Stegun 26.7.3 and 26.7.4: a finite sum in cos(theta), tan(theta) = t / sqrt(degrees). */
double adamoe_student_inside(double t, size_t degrees)
{
    const double theta = atan(t / sqrt((double)degrees)), s = sin(theta), c = cos(theta), square = c * c;
    const bool odd = degrees % 2 == 1;
    double term = odd ? c : 1.0, sum = 0.0;
    for (size_t i = odd ? 3 : 2; i <= degrees; i += 2) {
        sum += term;
        term *= square * (double)(i - 1) / (double)i;
    }
    return odd ? (theta + s * sum) * 2.0 * M_1_PI : s * sum;
}

/* By bisection: it is called a few times for a table. */
double adamoe_student_quantile(double level, size_t degrees)
{
    double low = 0.0, high = 1.0;
    while (adamoe_student_inside(high, degrees) < level) {
        high *= 2.0;
    }
    for (int i = 0; i < 100; ++i) {
        const double middle = 0.5 * (low + high);
        if (adamoe_student_inside(middle, degrees) < level) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return 0.5 * (low + high);
}

adamoe_mean adamoe_mean_of(const double *values, size_t count, double level)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < count; ++i) {
        sum += values[i];
    }
    const double n = (double)count, mean = sum / n;
    if (count < 2) {
        return (adamoe_mean){mean, NAN, {-INFINITY, INFINITY}, 1.0};
    }
    for (size_t i = 0; i < count; ++i) {
        squares += (values[i] - mean) * (values[i] - mean);
    }
    const double deviation = sqrt(squares / (n - 1.0)), error = deviation / sqrt(n);
    const double half = adamoe_student_quantile(level, count - 1) * error;
    const double outside = error > 0.0 ? 1.0 - adamoe_student_inside(fabs(mean) / error, count - 1) : 0.0;
    return (adamoe_mean){mean, deviation, {mean - half, mean + half}, mean == 0.0 ? 1.0 : fmax(0.0, outside)};
}

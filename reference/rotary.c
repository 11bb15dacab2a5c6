/*
 * Rotary position embedding with half-split pairing (reference/README.md section 8).
 */
#include "rotary.h"

#include <math.h>

void adamoe_rotary(float *head, size_t head_dim, double theta, size_t position)
{
    const size_t half = head_dim / 2;
    for (size_t i = 0; i < half; ++i) {
        const double angle = (double)position * pow(theta, -2.0 * (double)i / (double)head_dim);
        const double first = (double)head[i], second = (double)head[i + half];
        head[i] = (float)(first * cos(angle) - second * sin(angle));
        head[i + half] = (float)(second * cos(angle) + first * sin(angle));
    }
}

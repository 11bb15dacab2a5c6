/*
 * Rotary position embedding with half-split pairing (reference/README.md sections 8 and 8.1).
 */
#include "rotary.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925286766559

/* Frequencies whose wave is short against the original context stay, those whose wave is long are divided by the
 * factor, and in between one goes over into the other. */
static double llama3(const adamoe_rope_scaling *scaling, double frequency)
{
    const double waves = scaling->original_context * frequency / TWO_PI; /* in the original context */
    const double low = scaling->low_frequency_factor, high = scaling->high_frequency_factor;
    const double share = fmin(fmax((waves - low) / (high - low), 0.0), 1.0);
    return share * frequency + (1.0 - share) * frequency / scaling->factor;
}

double adamoe_rotary_frequency(const adamoe_config *config, size_t i)
{
    const adamoe_rope_scaling *scaling = &config->rope_scaling;
    const double frequency = pow(config->rope_theta, -2.0 * (double)i / (double)config->head_dim);
    switch (scaling->type) {
    case ADAMOE_ROPE_LINEAR:
        return frequency / scaling->factor;
    case ADAMOE_ROPE_LLAMA3:
        return llama3(scaling, frequency);
    case ADAMOE_ROPE_DEFAULT:
        break;
    }
    return frequency;
}

void adamoe_rotate_head(const adamoe_config *config, float *head, size_t position)
{
    const size_t half = config->head_dim / 2;
    for (size_t i = 0; i < half; ++i) {
        const double angle = (double)position * adamoe_rotary_frequency(config, i);
        const double first = (double)head[i], second = (double)head[i + half];
        head[i] = (float)(first * cos(angle) - second * sin(angle));
        head[i + half] = (float)(second * cos(angle) + first * sin(angle));
    }
}

/*
 * Rotary embedding of positions.
 */
#ifndef ADAMOE_ROTARY_H
#define ADAMOE_ROTARY_H

#include "architecture.h"

/* The inverse frequency of pair i < head_dim/2, by which a position is multiplied to give its angle: theta^(-2i /
 * head_dim), scaled as config->rope_scaling says (reference/README.md section 8.1). */
double adamoe_rotary_frequency(const adamoe_config *config, size_t i);

/* Rotates one head [head_dim] in place: the pair (x[i], x[i + head_dim/2]) by the angle position * frequency of i
 * (half-split pairing). */
void adamoe_rotate_head(const adamoe_config *config, float *head, size_t position);

#endif

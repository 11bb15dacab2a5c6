/*
 * Rotary embedding of positions.
 */
#ifndef ADAMOE_ROTARY_H
#define ADAMOE_ROTARY_H

#include <stddef.h>

/* Rotates one head in place: the pair (x[i], x[i + head_dim/2]) by the angle position * theta^(-2i/head_dim)
 * (half-split pairing). */
void adamoe_rotary(float *head, size_t head_dim, double theta, size_t position);

#endif

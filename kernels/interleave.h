/*
 * Rows laid side by side, term by term: what the tiles of products read.
 */
#ifndef ADAMOE_INTERLEAVE_H
#define ADAMOE_INTERLEAVE_H

#include <stddef.h>

/* to[k * width + i] = row[i][k] for i < rows <= width and k < terms; nothing else is written. */
void adamoe_interleave(const float *const *row, size_t rows, size_t terms, size_t width, float *to);

#endif

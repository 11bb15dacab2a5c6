/*
 * Packing of floats: what the tiles of products read side by side is laid side by side, term by term.
 */
#ifndef ADAMOE_VECTOR_PORTABLE_INTERLEAVE_H
#define ADAMOE_VECTOR_PORTABLE_INTERLEAVE_H

#include <stddef.h>

/* to[k * width + i] = row[i][k] for i < rows <= width and k < terms; nothing else is written. */
void adamoe_interleave(const float *const *row, size_t rows, size_t terms, size_t width, float *to);

/* The same of columns: term k of group g is line[k][g * width] and the width - 1 values after it.
 * to[(g * terms + k) * width + i] = line[k][g * width + i] for g < groups, k < terms and i < width. */
void adamoe_copy_groups(const float *const *line, size_t terms, size_t groups, size_t width, float *to);

/* Only where the processor has AVX-512 F. */
void adamoe_interleave_avx512(const float *const *row, size_t rows, size_t terms, size_t width, float *to);
void adamoe_copy_groups_avx512(const float *const *line, size_t terms, size_t groups, size_t width,
                               float *to);

#endif

/*
 * Packing for the tiles of AVX-512: sixteen rows are transposed in registers, columns are copied in whole
 * vectors.
 *
 * Left out: int8 and bfloat16 inputs, which are packed as they are rounded.
 */
#include "vector/portable/interleave.h"
#include "avx512/lanes.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Four rows, within each quarter of a vector: column[j] has in its quarter q their elements 4 q + j. */
ALWAYS_INLINE void transpose_quarters(const lanes row[4], lanes column[4])
{
    const lanes low01 = _mm512_unpacklo_ps(row[0], row[1]), high01 = _mm512_unpackhi_ps(row[0], row[1]);
    const lanes low23 = _mm512_unpacklo_ps(row[2], row[3]), high23 = _mm512_unpackhi_ps(row[2], row[3]);
    column[0] = _mm512_shuffle_ps(low01, low23, 0x44);
    column[1] = _mm512_shuffle_ps(low01, low23, 0xee);
    column[2] = _mm512_shuffle_ps(high01, high23, 0x44);
    column[3] = _mm512_shuffle_ps(high01, high23, 0xee);
}

/* column[k] = the elements k of sixteen rows. */
ALWAYS_INLINE void transpose(const lanes row[LANES], lanes column[LANES])
{
    lanes part[4][4]; /* of rows 4 g .. 4 g + 3 */
    for (size_t g = 0; g < 4; ++g) {
        transpose_quarters(row + 4 * g, part[g]);
    }
    for (size_t j = 0; j < 4; ++j) { /* quarters of four vectors change places as elements did above */
        const lanes even01 = _mm512_shuffle_f32x4(part[0][j], part[1][j], 0x88);
        const lanes odd01 = _mm512_shuffle_f32x4(part[0][j], part[1][j], 0xdd);
        const lanes even23 = _mm512_shuffle_f32x4(part[2][j], part[3][j], 0x88);
        const lanes odd23 = _mm512_shuffle_f32x4(part[2][j], part[3][j], 0xdd);
        column[j] = _mm512_shuffle_f32x4(even01, even23, 0x88);
        column[j + 4] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
        column[j + 8] = _mm512_shuffle_f32x4(even01, even23, 0xdd);
        column[j + 12] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
    }
}

/* `terms` terms of each row, up to LANES, from term k on; whole blocks have constants for both counts. */
ALWAYS_INLINE void interleave_block(const float *const *from, size_t rows, size_t k, size_t terms,
                                    size_t width, float *to)
{
    lanes row[LANES], column[LANES];
    for (size_t r = 0; r < LANES; ++r) {
        row[r] = r >= rows        ? lanes_all(0.0f)
                 : terms == LANES ? lanes_load(from[r] + k)
                                  : lanes_load_first(from[r] + k, terms);
    }
    transpose(row, column);
    for (size_t c = 0; c < terms; ++c) {
        if (rows == LANES) {
            lanes_store(to + (k + c) * width, column[c]);
        } else {
            lanes_store_first(to + (k + c) * width, column[c], rows);
        }
    }
}

ALWAYS_INLINE void interleave_rows(const float *const *row, size_t rows, size_t terms, size_t width,
                                   float *to)
{
    size_t k = 0;
    for (; k + LANES <= terms; k += LANES) {
        interleave_block(row, rows, k, LANES, width, to);
    }
    if (k < terms) {
        interleave_block(row, rows, k, terms - k, width, to);
    }
}

void adamoe_interleave_avx512(const float *const *row, size_t rows, size_t terms, size_t width, float *to)
{
    for (; rows >= LANES; rows -= LANES, row += LANES, to += LANES) {
        interleave_rows(row, LANES, terms, width, to);
    }
    if (rows == 14 && width == 14) { /* whole tiles, which are most of them */
        interleave_rows(row, 14, terms, 14, to);
    } else if (rows > 0) {
        interleave_rows(row, rows, terms, width, to);
    }
}

/* As many lines ahead are asked for: rows of a wide matrix are pages apart, where the processor fetches
 * nothing by itself. */
#define LINES_AHEAD 8

ALWAYS_INLINE void copy_groups(const float *const *line, size_t terms, size_t groups, size_t width, float *to)
{
    for (size_t k = 0; k < terms; ++k) {
        const float *from = line[k], *const ahead = line[k + LINES_AHEAD < terms ? k + LINES_AHEAD : k];
        float *out = to + k * width;
        for (size_t c = 0; c < groups * width; c += LANES) {
            __builtin_prefetch(ahead + c);
        }
        for (size_t g = 0; g < groups; ++g, from += width, out += terms * width) {
            size_t c = 0;
            for (; c + LANES <= width; c += LANES) {
                lanes_store(out + c, lanes_load(from + c));
            }
            if (c < width) {
                lanes_store_first(out + c, lanes_load_first(from + c, width - c), width - c);
            }
        }
    }
}

void adamoe_copy_groups_avx512(const float *const *line, size_t terms, size_t groups, size_t width, float *to)
{
    if (width == 14) {
        copy_groups(line, terms, groups, 14, to);
    } else if (width == 32) {
        copy_groups(line, terms, groups, 32, to);
    } else {
        copy_groups(line, terms, groups, width, to);
    }
}

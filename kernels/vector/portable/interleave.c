/*
 * Packing in vectors of four floats, which every processor has: it moves much and computes nothing. For
 * AVX-512 there is avx512/interleave.c.
 */
#include "vector/portable/interleave.h"

#include <string.h>

typedef float four __attribute__((vector_size(16)));
typedef float two __attribute__((vector_size(8)));

static four load(const float *from)
{
    four a;
    memcpy(&a, from, sizeof a);
    return a;
}

static void store(float *to, four a)
{
    memcpy(to, &a, sizeof a);
}

/* The first two or the last two of four. */
static void store_low(float *to, four a)
{
    const two half = __builtin_shufflevector(a, a, 0, 1);
    memcpy(to, &half, sizeof half);
}

static void store_high(float *to, four a)
{
    const two half = __builtin_shufflevector(a, a, 2, 3);
    memcpy(to, &half, sizeof half);
}

static void four_rows(const float *const row[4], size_t terms, size_t width, float *to)
{
    size_t k = 0;
    for (; k + 4 <= terms; k += 4) {
        const four a = load(row[0] + k), b = load(row[1] + k), c = load(row[2] + k), d = load(row[3] + k);
        const four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const four ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const four cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        float *const out = to + k * width;
        store(out, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
        store(out + width, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
        store(out + 2 * width, __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5));
        store(out + 3 * width, __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7));
    }
    for (; k < terms; ++k) {
        for (size_t i = 0; i < 4; ++i) {
            to[k * width + i] = row[i][k];
        }
    }
}

static void two_rows(const float *const row[2], size_t terms, size_t width, float *to)
{
    size_t k = 0;
    for (; k + 4 <= terms; k += 4) {
        const four a = load(row[0] + k), b = load(row[1] + k);
        const four low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const four high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        float *const out = to + k * width;
        store_low(out, low);
        store_high(out + width, low);
        store_low(out + 2 * width, high);
        store_high(out + 3 * width, high);
    }
    for (; k < terms; ++k) {
        to[k * width] = row[0][k];
        to[k * width + 1] = row[1][k];
    }
}

static void one_row(const float *row, size_t terms, size_t width, float *to)
{
    for (size_t k = 0; k < terms; ++k) {
        to[k * width] = row[k];
    }
}

void adamoe_interleave(const float *const *row, size_t rows, size_t terms, size_t width, float *to)
{
    size_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        four_rows(row + i, terms, width, to + i);
    }
    if (i + 2 <= rows) {
        two_rows(row + i, terms, width, to + i);
        i += 2;
    }
    if (i < rows) {
        one_row(row[i], terms, width, to + i);
    }
}

/* As many lines ahead are asked for: rows of a wide matrix are pages apart, where the processor fetches
 * nothing by itself. */
#define LINES_AHEAD 8
#define LINE_FLOATS 16

/* A constant width copies in a few registers. */
static inline __attribute__((always_inline)) void copy_groups(const float *const *line, size_t terms,
                                                              size_t groups, size_t width, float *to)
{
    for (size_t k = 0; k < terms; ++k) {
        const float *from = line[k], *const ahead = line[k + LINES_AHEAD < terms ? k + LINES_AHEAD : k];
        float *out = to + k * width;
        for (size_t c = 0; c < groups * width; c += LINE_FLOATS) {
            __builtin_prefetch(ahead + c);
        }
        for (size_t g = 0; g < groups; ++g, from += width, out += terms * width) {
            memcpy(out, from, width * sizeof *to);
        }
    }
}

/* The widths are those of AVX2's whole tiles and panels. */
void adamoe_copy_groups(const float *const *line, size_t terms, size_t groups, size_t width, float *to)
{
    if (width == 6) {
        copy_groups(line, terms, groups, 6, to);
    } else if (width == 16) {
        copy_groups(line, terms, groups, 16, to);
    } else {
        copy_groups(line, terms, groups, width, to);
    }
}

/*
 * Packing of operands: rows that become columns, and columns that are copied.
 */
#include "train/gemm_pack.h"
#include "interleave.h"

#include <string.h>

/* Rows that are transposed together: what adamoe_interleave takes at a time. */
#define ROWS_AT_ONCE 4

static const float *row_of(const adamoe_gemm_operand *operand, size_t row)
{
    return operand->data + (operand->list == NULL ? row : operand->list[row]) * operand->stride;
}

#define LINE_FLOATS 16

/* So many rows ahead are asked for: each is a stream of its own, and too short for the processor to notice.
 */
#define ROWS_AHEAD 8

static void fetch_rows(const gemm_part *part, size_t line)
{
    const size_t end = part->line + part->lines;
    for (size_t r = line; r < line + ROWS_AT_ONCE && r < end; ++r) {
        const float *from = row_of(part->operand, r) + part->term;
        for (size_t k = 0; k < part->terms; k += LINE_FLOATS) {
            __builtin_prefetch(from + k);
        }
    }
}

/* One group whose lines are rows of what stands there. */
static void pack_rows(const gemm_part *part, size_t first, size_t count, size_t width, float *to)
{
    const float *row[ROWS_AT_ONCE];
    for (size_t i = 0; i < count; i += ROWS_AT_ONCE) {
        const size_t here = count - i < ROWS_AT_ONCE ? count - i : ROWS_AT_ONCE;
        fetch_rows(part, part->line + first + i + ROWS_AHEAD);
        for (size_t r = 0; r < here; ++r) {
            row[r] = row_of(part->operand, part->line + first + i + r) + part->term;
        }
        adamoe_interleave(row, here, part->terms, width, to + i);
    }
}

/* Columns that are copied at the same time: of each row some neighbouring cache lines are read, and what is
 * written does not crowd one set of the first-level cache. */
#define COLUMNS_AT_ONCE 64

/* The columns of so many terms ahead are asked for: rows of a wide matrix are pages apart, where the
 * processor fetches nothing by itself. */
#define TERMS_AHEAD 8

static inline __attribute__((always_inline)) void fetch_columns(const gemm_part *part, size_t term,
                                                                size_t first, size_t columns)
{
    if (term < part->terms) {
        const float *from = row_of(part->operand, part->term + term) + part->line + first;
        for (size_t c = 0; c < columns; c += LINE_FLOATS) {
            __builtin_prefetch(from + c);
        }
    }
}

/* `groups` whole groups of `width` neighbouring columns; a constant width copies in a few registers. */
static inline __attribute__((always_inline)) void copy_groups(const gemm_part *part, size_t first,
                                                              size_t groups, size_t width, float *to)
{
    const size_t terms = part->terms; /* held here: what is stored might be the part, for all C knows */
    for (size_t k = 0; k < terms; ++k) {
        const float *from = row_of(part->operand, part->term + k) + part->line + first;
        float *out = to + k * width;
        fetch_columns(part, k + TERMS_AHEAD, first, groups * width);
        for (size_t g = 0; g < groups; ++g, from += width, out += terms * width) {
            memcpy(out, from, width * sizeof *to);
        }
    }
}

/* The widths are those of whole tiles and panels of AVX2 and AVX-512. */
static void copy_whole_groups(const gemm_part *part, size_t first, size_t groups, size_t width, float *to)
{
    switch (width) {
    case 6:
        copy_groups(part, first, groups, 6, to);
        break;
    case 14:
        copy_groups(part, first, groups, 14, to);
        break;
    case 16:
        copy_groups(part, first, groups, 16, to);
        break;
    case 32:
        copy_groups(part, first, groups, 32, to);
        break;
    default:
        copy_groups(part, first, groups, width, to);
        break;
    }
}

/* So few columns that a copy of theirs is not worth a call. */
static void copy_last_group(const gemm_part *part, size_t first, size_t count, size_t width, float *to)
{
    const size_t terms = part->terms;
    for (size_t k = 0; k < terms; ++k) {
        const float *from = row_of(part->operand, part->term + k) + part->line + first;
        for (size_t c = 0; c < count; ++c) {
            to[k * width + c] = from[c];
        }
    }
}

static void pad_group(size_t count, size_t terms, size_t width, float *to)
{
    for (size_t k = 0; k < terms && count < width; ++k) {
        memset(to + k * width + count, 0, (width - count) * sizeof *to);
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void adamoe_gemm_pack(const gemm_part *part, size_t width, bool padded, float *to)
{
    const size_t whole = part->lines / width, left = part->lines % width;
    const size_t last_width = padded ? width : left;
    float *const last = to + whole * width * part->terms;
    if (part->lines_are_rows) {
        for (size_t g = 0; g < whole; ++g) {
            pack_rows(part, g * width, width, width, to + g * width * part->terms);
        }
        pack_rows(part, whole * width, left, last_width, last);
    } else {
        const size_t at_once = COLUMNS_AT_ONCE / width + (width > COLUMNS_AT_ONCE);
        for (size_t g = 0; g < whole; g += at_once) {
            copy_whole_groups(part, g * width, smaller(whole - g, at_once), width,
                              to + g * width * part->terms);
        }
        if (left > 0) {
            copy_last_group(part, whole * width, left, last_width, last);
        }
    }
    if (left > 0 && padded) {
        pad_group(left, part->terms, width, last);
    }
}

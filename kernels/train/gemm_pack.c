/*
 * Packing of operands: rows that become columns, and columns that are copied.
 */
#include "train/gemm_pack.h"

#include <string.h>

#define LINE_FLOATS  16
#define MOST_AT_ONCE 16 /* rows that are transposed together */

static const float *row_of(const adamoe_gemm_operand *operand, size_t row)
{
    return operand->data + (operand->list == NULL ? row : operand->list[row]) * operand->stride;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Each row is a stream of its own, and too short for the processor to notice. */
static void fetch_rows(const gemm_part *part, size_t line, size_t rows)
{
    const size_t end = smaller(part->line + part->lines, line + rows);
    for (size_t r = line; r < end; ++r) {
        const float *from = row_of(part->operand, r) + part->term;
        for (size_t k = 0; k < part->terms; k += LINE_FLOATS) {
            __builtin_prefetch(from + k);
        }
    }
}

/* One group whose lines are rows of what stands there. The next ones are asked for meanwhile. */
static void pack_rows(const packed_products *tiles, const gemm_part *part, size_t first, size_t count,
                      size_t width, float *to)
{
    const float *row[MOST_AT_ONCE];
    const size_t most = smaller(tiles->lanes, MOST_AT_ONCE);
    for (size_t i = 0; i < count; i += most) {
        const size_t here = smaller(count - i, most), line = part->line + first + i;
        fetch_rows(part, line + here, most);
        for (size_t r = 0; r < here; ++r) {
            row[r] = row_of(part->operand, line + r) + part->term;
        }
        tiles->interleave(row, here, part->terms, width, to + i);
    }
}

/* Columns that are copied at the same time: of each row some neighbouring cache lines are read, and what is
 * written does not crowd one set of the first-level cache. */
#define COLUMNS_AT_ONCE 64

static void pack_whole_columns(const packed_products *tiles, const gemm_part *part, size_t groups,
                               size_t width, float *to)
{
    const float *line[ADAMOE_GEMM_MOST_TERMS];
    const size_t at_once = COLUMNS_AT_ONCE / width + (width > COLUMNS_AT_ONCE);
    for (size_t k = 0; k < part->terms; ++k) {
        line[k] = row_of(part->operand, part->term + k) + part->line;
    }
    for (size_t g = 0; g < groups; g += at_once) {
        const size_t here = smaller(groups - g, at_once);
        tiles->copy_groups(line, part->terms, here, width, to + g * width * part->terms);
        for (size_t k = 0; k < part->terms; ++k) {
            line[k] += here * width;
        }
    }
}

/* So few columns that a copy of theirs is not worth a call. */
static void pack_last_columns(const gemm_part *part, size_t first, size_t count, size_t width, float *to)
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

void adamoe_gemm_pack(const packed_products *tiles, const gemm_part *part, size_t width, bool padded,
                      float *to)
{
    const size_t whole = part->lines / width, left = part->lines % width;
    const size_t last_width = padded ? width : left;
    float *const last = to + whole * width * part->terms;
    if (part->lines_are_rows) {
        for (size_t g = 0; g < whole; ++g) {
            pack_rows(tiles, part, g * width, width, width, to + g * width * part->terms);
        }
        pack_rows(tiles, part, whole * width, left, last_width, last);
    } else {
        pack_whole_columns(tiles, part, whole, width, to);
        if (left > 0) {
            pack_last_columns(part, whole * width, left, last_width, last);
        }
    }
    if (left > 0 && padded) {
        pad_group(left, part->terms, width, last);
    }
}

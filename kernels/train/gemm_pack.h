/*
 * Packing: what a tile reads one after the other is put one after the other. Lines are what a tile has side
 * by side, rows of a or columns of b; terms are what it adds up.
 */
#ifndef ADAMOE_TRAIN_GEMM_PACK_H
#define ADAMOE_TRAIN_GEMM_PACK_H

#include "packed/tile.h"
#include "train/gemm_operand.h"

/* The part of an operand that is packed: some lines of it, some terms of each. */
typedef struct gemm_part {
    const adamoe_gemm_operand *operand;
    bool lines_are_rows; /* of what stands there; otherwise its columns */
    size_t line, lines, term, terms;
} gemm_part;

/* Most terms that are packed in one call. */
#define ADAMOE_GEMM_MOST_TERMS 256

/* Groups of at most `width` lines, one after the other. In each, for every term the values of its lines:
 * padded with zeros to `width` where `padded`, otherwise as many as there are. Group g begins at g * width *
 * terms. */
void adamoe_gemm_pack(const packed_products *tiles, const gemm_part *part, size_t width, bool padded,
                      float *to);

#endif

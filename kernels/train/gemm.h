/*
 * Products of float32 matrices whose both operands change from step to step, as training needs them: forward,
 * through the weights to the inputs, and through the inputs to the weights; many at a time, one or more for
 * each expert. Operands are packed on the way, block by block, into the tiles of the packed kernels.
 *
 * Every element of a result is one accumulator that adds its terms in ascending order of depth, so its bits
 * depend neither on the blocks and threads nor on where in the matrix it stands: equal rows of an operand
 * give equal results. Instruction sets differ in the last bits: only the portable tiles round twice for each
 * term.
 *
 * Left out: bfloat16, and operands that stay the same from call to call (kernels/packed/).
 */
#ifndef ADAMOE_TRAIN_GEMM_H
#define ADAMOE_TRAIN_GEMM_H

#include "adamoe.h"
#include "packed/tile.h"
#include "train/gemm_operand.h"

/* c[i, j] = (add ? c[i, j] : 0) + sum over k of a[i, k] * b[k, j]. c does not overlap the operands, nor the
 * results of the products that run in the same call. Depth 0 is a sum without terms. */
typedef struct adamoe_gemm {
    size_t rows, columns, depth;
    adamoe_gemm_operand a; /* [rows, depth] */
    adamoe_gemm_operand b; /* [depth, columns] */
    float *c;
    size_t stride; /* floats from row to row of c */
    bool add;
} adamoe_gemm;

/* The three products of a weight w [out, in], of matrices that stand row-major without gaps: y = x w^T, dx =
 * dy w, dw = dy^T x. */
adamoe_gemm adamoe_gemm_forward(const float *x, const float *w, size_t rows, size_t in, size_t out, float *y);
adamoe_gemm adamoe_gemm_to_input(const float *dy, const float *w, size_t rows, size_t in, size_t out,
                                 float *dx);
adamoe_gemm adamoe_gemm_to_weight(const float *dy, const float *x, size_t rows, size_t in, size_t out,
                                  float *dw);

/* Room for the packed blocks of each thread. */
typedef struct adamoe_gemm_space adamoe_gemm_space;

/* `most` is the largest number of products in one call. The team must outlive *out. Errors: memory. */
adamoe_status adamoe_gemm_space_create(const packed_products *tiles, const adamoe_team *team, size_t most,
                                       adamoe_gemm_space **out);
void adamoe_gemm_space_free(adamoe_gemm_space *space);

/* The same in memory of the caller's, so many bytes aligned to 64, which stays his. */
size_t adamoe_gemm_space_bytes(const packed_products *tiles, uint32_t threads, size_t most);
adamoe_gemm_space *adamoe_gemm_space_place(const packed_products *tiles, const adamoe_team *team, size_t most,
                                           void *memory);

/* Computes gemm[count], count at most `most`, on all threads. */
void adamoe_gemm_run(adamoe_gemm_space *space, const adamoe_gemm *gemm, size_t count);

#endif

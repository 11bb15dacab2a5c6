/*
 * The one place that knows oneDNN: a dense product y = x · Wᵀ with the weights packed once. Both C API
 * versions in use, 2.x and 3.x, are served.
 *
 * Every product runs on the thread that calls it, with oneDNN's own pool held to one thread: work is shared
 * out by the team of the contract, so that two pools never compete.
 */
#ifndef ADAMOE_ONEDNN_ADAPTER_H
#define ADAMOE_ONEDNN_ADAPTER_H

#include "adamoe.h"

/* "2.6.3" */
const char *onednn_version(void);

/* The weights of one product: rows first_row .. first_row + rows - 1 of a matrix, as columns of the output.
 */
typedef struct onednn_product onednn_product;

/* Packs rows of `matrix`. `type` is FLOAT32 or BFLOAT16, of inputs and weights alike; the output is float32
 * and has `output_stride` floats from row to row. Errors: NOT_SUPPORTED where oneDNN has no such product
 * here; memory. */
adamoe_status onednn_product_create(const adamoe_matrix *matrix, size_t first_row, size_t rows,
                                    adamoe_arithmetic type, size_t output_stride, onednn_product **out);
void onednn_product_free(onednn_product *product);

/* Makes ready for inputs of `count` rows; not during onednn_product_run of the same product. */
adamoe_status onednn_product_reserve(onednn_product *product, size_t count);

/* Bytes of scratch memory, aligned to 64, that a run of any number of rows may need on each thread. */
size_t onednn_product_scratch(const onednn_product *product);

/* y[i, r] = sum over c of x[i, c] * W[r, c] for `count` rows, which must have been reserved. x is [count,
 * columns] of the product's type. Several threads may run one product at once, each with its own scratch
 * memory. */
adamoe_status onednn_product_run(const onednn_product *product, const void *x, size_t count, float *y,
                                 void *scratch);

/* What oneDNN calls the code that it chose: "gemm:jit", "brg:avx512_core". */
const char *onednn_product_implementation(const onednn_product *product);

#endif

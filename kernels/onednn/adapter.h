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

/* The largest number of rows of one run. */
#define ONEDNN_ROW_BLOCK 512

/* "2.6.3" */
void onednn_version(char *text, size_t size);

/* The weights of one product: rows first_row .. first_row + rows - 1 of a matrix, as
 * columns of the output. */
typedef struct onednn_product onednn_product;

/* Where packed weights go: memory of the host for `node` of the placement, as its policy says. */
typedef struct onednn_place {
    const adamoe_host *host;
    const adamoe_placement *placement;
    uint32_t node;
} onednn_place;

/* Packs rows of `matrix`. `type` is FLOAT32 or BFLOAT16, of inputs and weights alike; the output is float32
 * and has `output_stride` floats from row to row. A row of the input has `depth` elements, at least
 * matrix->columns; what is behind the matrix's columns must be zeros, and is multiplied by zeros. Does as it
 * is told: which strides and depths oneDNN computes right is for faults.h. Errors: NOT_SUPPORTED where oneDNN
 * has no such product here; memory. */
adamoe_status onednn_product_create(const adamoe_matrix *matrix, size_t first_row, size_t rows,
                                    adamoe_arithmetic type, size_t depth, size_t output_stride,
                                    const onednn_place *place, onednn_product **out);
void onednn_product_free(onednn_product *product);

/* Makes ready for inputs of `count` rows, at most ONEDNN_ROW_BLOCK; not during onednn_product_run of the same
 * product. */
adamoe_status onednn_product_reserve(onednn_product *product, size_t count);

/* Bytes of scratch memory, aligned to 64, that a run of any number of rows that was reserved needs on each
 * thread. */
size_t onednn_product_scratch(const onednn_product *product);

/* The same for any number of rows: oneDNN describes all of them, and compiles none. Products of the same
 * shape, stride and type need the same. */
adamoe_status onednn_product_largest_scratch(const onednn_product *product, size_t *bytes);

/* y[i, r] = sum over c of x[i, c] * W[r, c] for `count` rows, which must have been reserved. x is [count,
 * depth] of the product's type. Several threads may run one product at once, each with its own scratch
 * memory. */
adamoe_status onednn_product_run(const onednn_product *product, const void *x, size_t count, float *y,
                                 void *scratch);

/* What oneDNN calls the code that it chose, each name once: "brg:avx512_core+gemm:jit"; empty where nothing
 * is reserved yet. */
const char *onednn_product_implementation(const onednn_product *product);

/* Adds the names of the second list that the first one lacks, as far as they fit. */
void onednn_add_names(char *list, size_t size, const char *names);

#endif

/*
 * What the files of the oneDNN kernels share: a matrix as packed blocks of its rows, operands, workspace,
 * errors of tasks. Not for others.
 */
#ifndef ADAMOE_ONEDNN_PACKED_H
#define ADAMOE_ONEDNN_PACKED_H

#include "onednn/adapter.h"

/* Output columns of one task, and of one packed product; its rows are ONEDNN_ROW_BLOCK at most. */
#define ONEDNN_COLUMN_BLOCK 768

/* A matrix as packed blocks of its rows. */
typedef struct onednn_packed {
    size_t rows, columns, blocks;
    onednn_product **block; /* [blocks] */
} onednn_packed;

/* Blocks of `block` elements in a whole of `size`, and the elements of block i. */
size_t onednn_block_count(size_t size, size_t block);
size_t onednn_block_size(size_t size, size_t block, size_t i);

/* The output of a block has its own width as stride where it is `compact`, otherwise that of the whole
 * matrix. On failure nothing stays allocated. */
adamoe_status onednn_packed_create(const adamoe_matrix *matrix, adamoe_arithmetic type, bool compact,
                                   onednn_packed *out);
void onednn_packed_free(onednn_packed *packed);

/* The same of rows row[0 .. count - 1] of `matrix`, in that order, not compact. They are copied out of it
 * block by block, so that a large matrix is not held twice. */
adamoe_status onednn_packed_create_of_rows(const adamoe_matrix *matrix, const uint32_t *row, size_t count,
                                           adamoe_arithmetic type, onednn_packed *out);

/* Compiles for every number of rows that `count` rows come in, block by block. */
adamoe_status onednn_packed_reserve(onednn_packed *packed, size_t count);

/* Scratch memory to set aside for each thread, so that any number of rows can run; a multiple of 64. */
adamoe_status onednn_packed_largest_scratch(const onednn_packed *packed, size_t *bytes);

/* An error if the products compiled so far ask for more than `bytes`: it would be written beyond its end. */
adamoe_status onednn_check_scratch(const onednn_packed *packed, size_t bytes);

/* Stores scale * from[count] as operands. */
void onednn_store_operand(adamoe_arithmetic type, const float *from, float scale, size_t count, void *to);

/* Rounded up to 64 bytes. */
size_t onednn_aligned(size_t bytes);

/* The first error that a task met; tasks run on several threads, one slot for each. */
typedef struct onednn_failures {
    adamoe_status *status; /* [threads], in the workspace */
    uint32_t threads;
} onednn_failures;

void onednn_note(onednn_failures *f, uint32_t thread, adamoe_status status);
void onednn_clear(onednn_failures *f);
adamoe_status onednn_first_failure(const onednn_failures *f);

/* The experts of a layer (experts.c) and the dense product (matrix.c); as in the contract, for one operand
 * type. */
adamoe_status onednn_prepare(adamoe_arithmetic type, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out);
void onednn_release(adamoe_prepared *prepared);
size_t onednn_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens);
adamoe_status onednn_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y);

/* The distinct names of the code behind all products compiled so far. */
void onednn_prepared_implementation(const adamoe_prepared *prepared, char *text, size_t size);

adamoe_status onednn_prepare_matrix(adamoe_arithmetic type, const adamoe_matrix *matrix,
                                    const adamoe_placement *placement, adamoe_prepared_matrix **out);
void onednn_release_matrix(adamoe_prepared_matrix *prepared);
size_t onednn_matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count);
adamoe_status onednn_multiply(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                              size_t count, float *y);

#endif

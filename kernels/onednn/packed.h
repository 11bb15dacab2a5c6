/*
 * What the files of the oneDNN kernels share: a matrix as packed blocks of its rows, operands, workspace,
 * errors of tasks. Not for others.
 */
#ifndef ADAMOE_ONEDNN_PACKED_H
#define ADAMOE_ONEDNN_PACKED_H

#include "onednn/adapter.h"
#include "onednn/faults.h"
#include "machine/placement.h"

/* Output columns of one task, and of one packed product; its rows are ONEDNN_ROW_BLOCK at most. A single
 * column that is left over belongs to the block before it, which is the widest then: there is no block of one
 * column, for which oneDNN may be wrong (ONEDNN_ONE_COLUMN), unless the whole output has one, and no gaps. */
#define ONEDNN_COLUMN_BLOCK 768
#define ONEDNN_WIDEST_BLOCK (ONEDNN_COLUMN_BLOCK + 1)

/* A matrix as packed blocks of its rows. */
typedef struct onednn_packed {
    size_t rows, columns, blocks;
    size_t depth;           /* elements of an input row: onednn_depth of the columns */
    onednn_product **block; /* [blocks] */
} onednn_packed;

/* Blocks of ONEDNN_ROW_BLOCK rows of an input of `rows`, and the rows of block i. */
size_t onednn_row_blocks(size_t rows);
size_t onednn_row_block_size(size_t rows, size_t i);

/* Blocks of the `columns` columns of an output, and the columns of block i, which begins at
 * i * ONEDNN_COLUMN_BLOCK. */
size_t onednn_column_blocks(size_t columns);
size_t onednn_column_block_size(size_t columns, size_t i);

/* `place` names a node, or ONEDNN_SPREAD. The output of a block has its own width as stride where it is
 * `compact`, otherwise that of the whole matrix. On failure nothing stays allocated. */
adamoe_status onednn_packed_create(const adamoe_matrix *matrix, adamoe_arithmetic type, bool compact,
                                   const onednn_place *place, onednn_packed *out);
void onednn_packed_free(onednn_packed *packed);

/* The same of rows row[0 .. count - 1] of `matrix`, in that order, not compact. They are copied out of it
 * block by block, so that a large matrix is not held twice. */
adamoe_status onednn_packed_create_of_rows(const adamoe_matrix *matrix, const uint32_t *row, size_t count,
                                           adamoe_arithmetic type, const onednn_place *place,
                                           onednn_packed *out);

/* What has no node of its own under a policy that has one for everything: blocks are
 * spread over the nodes. */
#define ONEDNN_SPREAD UINT32_MAX

/* The tiles of a product, blocks of rows times blocks of columns, by the node that the weights of their
 * columns are on. One share has them all where the policy does not tell nodes apart. */
typedef struct onednn_shares {
    uint32_t count; /* the placement's nodes, or 1 */
    size_t first[ADAMOE_MAX_NODES +
                 1]; /* tiles of share n are first[n] .. first[n+1]-1, columns varying fastest */
    size_t first_row_block[ADAMOE_MAX_NODES];
    size_t first_block[ADAMOE_MAX_NODES], blocks[ADAMOE_MAX_NODES];
} onednn_shares;

/* A matrix, or under split an expert's: every node has all row blocks, and its part of the columns. */
void onednn_share_columns(const adamoe_placement *placement, size_t row_blocks, size_t blocks,
                          onednn_shares *out);

/* Under experts: node n has the row blocks node_rows[n] .. node_rows[n+1]-1, and all columns. */
void onednn_share_rows(const adamoe_placement *placement, const size_t *node_rows, size_t blocks,
                       onednn_shares *out);

/* Tile i: its block of rows and its block of columns. */
void onednn_find_tile(const onednn_shares *shares, size_t i, size_t *row_block, size_t *block);

/* Runs a task for each tile, by the threads of its node. */
void onednn_run_tiles(const adamoe_team *team, const adamoe_placement *placement, const onednn_shares *shares,
                      void (*task)(void *context, size_t i, uint32_t thread), void *context);

/* Compiles for every number of rows that `count` rows come in, block by block. */
adamoe_status onednn_packed_reserve(onednn_packed *packed, size_t count);

/* Scratch memory to set aside for each thread, so that any number of rows can run; a multiple of 64. */
adamoe_status onednn_packed_largest_scratch(const onednn_packed *packed, size_t *bytes);

/* An error if the products compiled so far ask for more than `bytes`: it would be written beyond its end. */
adamoe_status onednn_check_scratch(const onednn_packed *packed, size_t bytes);

/* Stores scale * from[count] as operands. */
void onednn_store_operands(adamoe_arithmetic type, const float *from, float scale, size_t count, void *to);

/* Stores scale * from[columns] as an input row of `depth` elements, the last of which are zeros. */
void onednn_store_row(adamoe_arithmetic type, const float *from, float scale, size_t columns, size_t depth,
                      void *to);

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
adamoe_status onednn_prepare(adamoe_arithmetic type, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out);
void onednn_release(adamoe_prepared *prepared);
size_t onednn_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens);
adamoe_status onednn_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y);
adamoe_status onednn_combine(const adamoe_run *run, size_t hidden_size, const float *x, const float *outputs,
                             const adamoe_plan *plan, float *y);

/* The distinct names of the code behind all products compiled so far. */
void onednn_prepared_implementation(const adamoe_prepared *prepared, char *text, size_t size);

adamoe_status onednn_prepare_matrix(adamoe_arithmetic type, const adamoe_host *host,
                                    const adamoe_matrix *matrix, const adamoe_placement *placement,
                                    adamoe_prepared_matrix **out);
void onednn_release_matrix(adamoe_prepared_matrix *prepared);
size_t onednn_matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count);
adamoe_status onednn_multiply(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                              size_t count, float *y);

#endif

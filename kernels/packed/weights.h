/*
 * Weights packed for the tiles of an instruction set.
 *
 * A matrix is cut into blocks of depth, so long that a panel of one stays in the first-level cache while the
 * tiles of all rows pass over it; within a block, panel follows panel. A task that computes neighbouring
 * panels thus reads one contiguous stream for each block.
 */
#ifndef ADAMOE_PACKED_WEIGHTS_H
#define ADAMOE_PACKED_WEIGHTS_H

#include "adamoe.h"
#include "packed/tile.h"

/* Sizes that follow from the caches; no result depends on them. */
typedef struct packed_blocks {
    size_t depth; /* terms of a block */
    size_t rows;  /* rows whose inputs of one block stay in the second-level cache */
    size_t sums;  /* bytes of sums that a task may keep */
} packed_blocks;

packed_blocks adamoe_packed_blocks(const packed_products *products);

/* Terms with the zeros that make whole groups of weights of them: a pair of bfloat16 weights takes two float inputs. */
size_t adamoe_packed_padded_depth(const packed_products *products, size_t depth);

/* Bytes of a term among the inputs, all its parts. */
size_t adamoe_packed_term_bytes(const packed_products *products);

/* Neighbouring panels that live on one node. */
typedef struct packed_part {
    char *weights;
    float *scale;    /* [outputs of its panels] the step of each where weights are in steps, otherwise NULL */
    int32_t *excess; /* the same, for int8 */
    size_t first_panel, panels;
    uint32_t node;
} packed_part;

/* `paired`: outputs i of two matrices, w1 and w3, stand in the same panel, those of w1 in its first vector,
 * those of w3 in its second, so that a tile has what silu(w1 x) * w3 x needs. */
typedef struct packed_matrix {
    const packed_products *products;
    packed_blocks blocks;
    bool paired;
    size_t outputs, depth, panels;
    uint32_t parts;
    packed_part *part; /* [parts] */
} packed_matrix;

/* Outputs of the matrix in one panel. */
size_t adamoe_packed_panel_outputs(const packed_matrix *matrix);

/* Groups of terms in the block of depth that begins at term `first`. */
size_t adamoe_packed_block_groups(const packed_matrix *matrix, size_t first);

/* The panel of the block that begins at term `first`; neighbouring panels are block_groups * group_bytes
 * apart. */
const char *adamoe_packed_panel(const packed_matrix *matrix, const packed_part *part, size_t first,
                                size_t panel_of_part);

/* Bytes of one group of terms of a panel. */
size_t adamoe_packed_group_bytes(const packed_products *products);

/* Packs `first`, or `first` and `second` (w1 and w3) as a pair; `node` is where the whole of it goes, or
 * ADAMOE_ALL_NODES to go by the placement's policy: one part anywhere (local), one part in turn over all
 * nodes (interleave), one part on each node (experts and split). Memory comes from the host. On failure
 * nothing is kept. Errors: memory. */
adamoe_status adamoe_packed_create(const adamoe_host *host, const packed_products *products,
                                   const adamoe_matrix *first, const adamoe_matrix *second,
                                   const adamoe_placement *placement, uint32_t node, packed_matrix *out);

/* Accepts one that was zeroed and never created. */
void adamoe_packed_free(const adamoe_host *host, packed_matrix *matrix);

#endif

/*
 * Rows of inputs, cut into groups that stay in cache and into tiles, and packed for the tiles' loop.
 *
 * A group is rows of one expert, or of a dense product. Its inputs stand block of depth by block of depth as
 * the weights do; within a block tile by tile; within a tile group of terms by group of terms, each with its
 * rows side by side.
 */
#ifndef ADAMOE_PACKED_ROWS_H
#define ADAMOE_PACKED_ROWS_H

#include "packed/weights.h"

typedef struct packed_group {
    const packed_products
        *products; /* what its rows are multiplied with: the weights' own, or widened ones */
    size_t expert;
    size_t first_row, rows; /* rows of the plan */
    size_t tiles;
    size_t first_tile; /* the number of its first tile among those of all groups */
} packed_group;

/* A tile's rows within its group. */
typedef struct packed_rows {
    size_t first, count;
} packed_rows;

/* Cuts rows into tiles of nearly equal size. */
packed_group adamoe_packed_group(const packed_products *weights, size_t expert, size_t first_row, size_t rows,
                                 size_t first_tile);
packed_rows adamoe_packed_tile_rows(const packed_group *group, size_t tile);

/* The groups of `rows` rows of one expert, at most `most` rows each. Writes them to group[], unless it is
 * NULL, and returns how many there are. */
size_t adamoe_packed_cut(const packed_products *weights, size_t most, size_t expert, size_t first_row,
                         size_t rows, size_t first_tile, packed_group *group);

/* Bytes of the inputs of `rows` rows of `depth` terms. */
size_t adamoe_packed_input_bytes(const packed_products *products, size_t rows, size_t depth);

/* Where the inputs of a tile's block begin within those of its group. */
size_t adamoe_packed_input_at(const packed_matrix *matrix, const packed_group *group, size_t tile,
                              size_t first);

/* Packs the rows of a tile for products with `matrix`: terms[row][depth], times factor[row] unless factor is
 * NULL. They are rounded if inputs are bfloat16; for int8 they are quantised and scale[row] is set. scratch
 * is [depth]. */
void adamoe_packed_store_tile(const packed_matrix *matrix, const packed_group *group, size_t tile,
                              const float *const *terms, const float *factor, float *scratch, char *inputs,
                              packed_row_scale *scale);

/* Stores terms [first, first + count) of each row among a tile's inputs, which begin at `to`: row[r] has them as
 * products->round or products->gate left them, one input group after the other. `first` is whole input groups, or,
 * where those are longer than a float, any. */
void adamoe_packed_store_terms(const packed_products *products, size_t rows, const float *const *row,
                               size_t first, size_t count, char *to);

/* Zeros the input groups of a tile beyond the last term, up to whole groups of weights, for rows that are not
 * stored by adamoe_packed_store_tile. */
void adamoe_packed_pad(const packed_matrix *matrix, const packed_group *group, size_t tile, char *inputs);

/* Sums of the rows of a group, one after the other. */
typedef struct packed_sums {
    float *at;
    size_t stride; /* floats from row to row */
} packed_sums;

/* sums[row of the group][output of the panels] = inputs times `panels` panels of a part, from first_panel of
 * the part on. Where inputs are in steps, row_scale is [rows of the
 * group]. `widened` is room for one panel's block in the type that is multiplied. */
void adamoe_packed_multiply(const packed_matrix *matrix, const packed_part *part, size_t first_panel,
                            size_t panels, const packed_group *group, const char *inputs,
                            const packed_row_scale *row_scale, packed_sums sums, void *widened);

/* Bytes of `widened`. */
size_t adamoe_packed_widened_bytes(const packed_matrix *matrix);

#endif

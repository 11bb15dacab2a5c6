/*
 * The inner products of the packed kernels: one interface, a set of functions for each instruction set and
 * weight type. What stands around them (blocks, threads, routing) is in the other files of this folder; what
 * the numbers mean is not known here.
 *
 * Weights. A panel is PACKED_VECTORS vectors of outputs side by side. Its terms stand in groups of
 * `weight_group` (1, or 2 or 4 where an instruction multiplies neighbours): for each group, for each output
 * of the panel, the group's terms. Depth is padded with zeros to whole groups. An instruction that multiplies
 * matrices has groups of 64 bytes: for each group, for each part of a term, for each vector of the panel, for
 * each `neighbours` terms of the group, for each output of the vector, those.
 *
 * Inputs. A tile of `rows` rows: for each group of `input_group` terms, for each row, the group's terms;
 * where a term has several parts, all first parts of the row's group, then all second ones.
 *
 * Every output is one accumulator that adds its terms, or the sums of groups, in ascending order, so its bits
 * depend neither on the number of rows and panels that are computed together nor on where in a panel it
 * stands.
 */
#ifndef ADAMOE_PACKED_TILE_H
#define ADAMOE_PACKED_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKED_VECTORS     2
#define PACKED_VECTOR_ROWS 14 /* whose sums vector registers hold */
#define PACKED_MOST_ROWS   32
#define PACKED_MOST_LANES  16

/* What to fetch into cache while a tile is computed: memory latency is hidden behind arithmetic where there
 * is arithmetic enough. */
typedef struct packed_ahead {
    const char *from;
    size_t lines; /* of 64 bytes */
} packed_ahead;

/* sums[r][panel * outputs of a panel + o] (+)= the products of `groups` groups of terms. Sums are floats or
 * 32-bit integers; rows of sums are `stride` elements apart. Neighbouring panels are panel_bytes apart.
 * `first`: the sums begin at 0, what stands there is not read. */
typedef void packed_tile(size_t groups, const void *inputs, const void *weights, size_t panel_bytes,
                         void *sums, size_t stride, bool first, packed_ahead ahead);

/* One row count: tiles of one, two and four panels; NULL where there is none. Few rows need several panels,
 * because one would not keep enough sums in flight to cover the latency of an addition. */
typedef struct packed_tiles {
    packed_tile *panels[3]; /* 1, 2, 4 */
} packed_tiles;

/* A row of inputs in steps: what a step is, and what is too much in each of its sums. */
typedef struct packed_row_scale {
    float step;
    int32_t excess;
} packed_row_scale;

/* What turns the int32 sums of a panel into floats: ((sum - excess - row.excess) * output) * row.step. */
typedef struct packed_scales {
    const packed_row_scale *row; /* [rows] of the group */
    const float *output;         /* [outputs of a panel]; NULL where weights are in no steps */
    const int32_t *excess;       /* the same; NULL unless weights are int8 */
} packed_scales;

/* The vectors of one instruction set for one weight type. */
typedef struct packed_products {
    size_t lanes;                     /* outputs of a vector */
    size_t most_rows;                 /* of a tile, up to PACKED_MOST_ROWS */
    size_t wide;                      /* panels side by side where a group has several tiles: log2 */
    size_t input_group;               /* terms of a group in the inputs, 1, 2 or 4 */
    size_t weight_group;              /* the same in the weights; a multiple of input_group */
    size_t input_bytes, weight_bytes; /* of one term; of one of its parts, in the inputs */
    size_t input_parts;               /* of a term; 0 is 1 */
    size_t
        weight_parts; /* the same, of weights that `quantise` cuts as it does inputs, each output in a step of its
                            own: the first so many of its parts; 0: as they are */
    size_t neighbours;                       /* terms of an output side by side in weights; 0: the group */
    bool whole_depth;                        /* one block of depth: sums stay where they are summed */
    packed_tiles tile[PACKED_MOST_ROWS + 1]; /* [1 .. most_rows] */

    /* Where weights are narrower than what is multiplied: expands a panel of `groups` groups to `to`, and the
     * products that compute on it, for groups of rows that make more tiles than `tiles_before_widening`;
     * fewer widen in registers, each tile anew. NULL where there is nothing to expand. */
    void (*widen)(const void *weights, size_t groups, void *to);
    const struct packed_products *widened;
    size_t tiles_before_widening;

    /* For inputs in steps: the step of a row whose largest magnitude is `largest`; quantises terms[count] in
     * steps of `scale` to input groups that are `stride` bytes apart, padded with zeros to whole groups, and
     * returns what is too much in each sum of the row for that; and turns the sums of a panel into floats in
     * place. NULL for products of floats as they are. `excess` is what one unit of weight adds to a sum too
     * much, because inputs are stored as q + excess. */
    int32_t excess;
    float (*step)(float largest);
    int32_t (*quantise)(const float *terms, size_t count, float scale, void *to, size_t stride);
    void (*scale_sums)(void *sums, size_t stride, size_t rows, packed_scales scales);

    /* For bfloat16: rounds terms[count] to input groups, one after the other, padded with zeros to whole
     * ones. NULL where inputs are floats or quantised. */
    void (*round)(const float *terms, size_t count, void *to);

    /* interleave.h's functions, which pack input groups as long as a float: the first is NULL where inputs
     * are quantised, the second where weights are not float32, which is all that training multiplies. */
    void (*interleave)(const float *const *row, size_t rows, size_t terms, size_t width, float *to);
    void (*copy_groups)(const float *const *line, size_t terms, size_t groups, size_t width, float *to);

    /* What prepares the calling thread for tiles of `rows` rows, and what undoes it after the last one of a
     * task. NULL where nothing is to be done. */
    void (*configure)(size_t rows);
    void (*release)(void);

    /* The largest magnitude of terms[count], 0 for none. */
    float (*largest)(const float *terms, size_t count);

    /* h of row r = silu(sums[r][o]) * sums[r][lanes + o] for o < outputs <= lanes, stored as input groups one
     * after the other, padded with zeros to whole ones; as floats where inputs are quantised afterwards. Row
     * r begins at h + r * row_stride floats. */
    void (*gate)(const float *sums, size_t stride, size_t rows, size_t outputs, float *h, size_t row_stride);

    /* y[c] = sum over the rows i in ascending order of weight[i] * row[i][c], by fused multiply-add from 0,
     * and last of all self_scale * x[c] where x is not NULL. */
    void (*combine)(size_t width, size_t rows, const float *weight, const float *slots, const uint32_t *row,
                    float self_scale, const float *x, float *y);
} packed_products;

/* Each instruction set's products; only where the processor has it. */
extern const packed_products adamoe_products_f32_avx2, adamoe_products_bf16_avx2, adamoe_products_int8_avx2;
extern const packed_products adamoe_products_f32_avx512, adamoe_products_bf16_avx512,
    adamoe_products_dpbf16_avx512, adamoe_products_int8_avx512;
extern const packed_products adamoe_products_bf16_amx, adamoe_products_int8_amx, adamoe_products_split_amx,
    adamoe_products_split_f32_amx;

#endif

/*
 * Groups and tiles of rows, and the loop over blocks, panels and tiles.
 */
#include "packed/rows.h"

#include <string.h>

packed_group adamoe_packed_group(const packed_products *weights, size_t expert, size_t first_row, size_t rows,
                                 size_t first_tile)
{
    const packed_products *products = weights;
    if (weights->widened != NULL && rows > weights->tiles_before_widening * weights->most_rows) {
        products = weights->widened;
    }
    return (packed_group){.products = products,
                          .expert = expert,
                          .first_row = first_row,
                          .rows = rows,
                          .tiles = (rows + products->most_rows - 1) / products->most_rows,
                          .first_tile = first_tile};
}

size_t adamoe_packed_cut(const packed_products *weights, size_t most, size_t expert, size_t first_row,
                         size_t rows, size_t first_tile, packed_group *group)
{
    const size_t groups = (rows + most - 1) / most;
    for (size_t i = 0; i < groups && group != NULL; ++i) {
        const size_t begin = rows * i / groups, end = rows * (i + 1) / groups;
        group[i] = adamoe_packed_group(weights, expert, first_row + begin, end - begin, first_tile);
        first_tile += group[i].tiles;
    }
    return groups;
}

/* The first tiles have a row more than the others where rows do not divide evenly. */
packed_rows adamoe_packed_tile_rows(const packed_group *group, size_t tile)
{
    const size_t least = group->rows / group->tiles, longer = group->rows % group->tiles;
    return (packed_rows){tile * least + (tile < longer ? tile : longer), least + (tile < longer ? 1 : 0)};
}

/* What a row takes for a group of terms. */
static size_t input_group_bytes(const packed_products *products)
{
    return products->input_group * adamoe_packed_term_bytes(products);
}

/* Whether groups of inputs are longer than what travels as a float. */
static bool are_wide(const packed_products *products)
{
    return products->neighbours != 0;
}

static size_t input_groups(const packed_products *products, size_t terms)
{
    return (terms + products->input_group - 1) / products->input_group;
}

size_t adamoe_packed_input_bytes(const packed_products *products, size_t rows, size_t depth)
{
    return rows * input_groups(products, adamoe_packed_padded_depth(products, depth)) *
           input_group_bytes(products);
}

static size_t block_terms(const packed_matrix *matrix, size_t first)
{
    return adamoe_packed_block_groups(matrix, first) * matrix->products->weight_group;
}

size_t adamoe_packed_input_at(const packed_matrix *matrix, const packed_group *group, size_t tile,
                              size_t first)
{
    const packed_products *products = matrix->products;
    const size_t before = group->rows * input_groups(products, first);
    const size_t block = input_groups(products, block_terms(matrix, first));
    return (before + adamoe_packed_tile_rows(group, tile).first * block) * input_group_bytes(products);
}

/* Row r of a tile of `rows` rows: one term in each group, so that groups are floats. */
static void store_floats(const float *terms, size_t count, size_t padded_count, size_t rows, float *to)
{
    for (size_t c = 0; c < count; ++c) {
        to[c * rows] = terms[c];
    }
    for (size_t c = count; c < padded_count; ++c) {
        to[c * rows] = 0.0f;
    }
}

/* Row r of a tile, whatever is to be done to it. */
static void store_row(const packed_matrix *matrix, const packed_group *group, size_t tile, size_t r,
                      const float *terms, const float *factor, float *scratch, char *inputs,
                      packed_row_scale *scale)
{
    const packed_products *products = matrix->products;
    const size_t depth = matrix->depth, rows = adamoe_packed_tile_rows(group, tile).count;
    const size_t group_bytes = input_group_bytes(products);
    if (factor != NULL) {
        for (size_t c = 0; c < depth; ++c) {
            scratch[c] = *factor * terms[c];
        }
        terms = scratch;
    }
    if (products->quantise != NULL) {
        *scale = (packed_row_scale){.step = products->step(products->largest(terms, depth))};
    }
    for (size_t first = 0; first < depth; first += matrix->blocks.depth) {
        const size_t count = depth - first < matrix->blocks.depth ? depth - first : matrix->blocks.depth;
        char *to = inputs + adamoe_packed_input_at(matrix, group, tile, first) + r * group_bytes;
        if (products->quantise != NULL) {
            scale->excess += products->quantise(terms + first, count, scale->step, to, rows * group_bytes);
        } else {
            store_floats(terms + first, count, block_terms(matrix, first), rows, (float *)(void *)to);
        }
    }
}

/* Rows of floats as they stand. */
static void store_rows(const packed_matrix *matrix, const packed_group *group, size_t tile, size_t rows,
                       const float *const *terms, char *inputs)
{
    for (size_t first = 0; first < matrix->depth; first += matrix->blocks.depth) {
        const size_t left = matrix->depth - first;
        const float *from[PACKED_MOST_ROWS];
        for (size_t r = 0; r < rows; ++r) {
            from[r] = terms[r] + first;
        }
        matrix->products->interleave(
            from, rows, left < matrix->blocks.depth ? left : matrix->blocks.depth, rows,
            (float *)(void *)(inputs + adamoe_packed_input_at(matrix, group, tile, first)));
    }
    if (matrix->depth > 0) {
        adamoe_packed_pad(matrix, group, tile, inputs);
    }
}

void adamoe_packed_store_terms(const packed_products *products, size_t rows, const float *const *row,
                               size_t first, size_t count, char *to)
{
    const size_t group = products->input_group, bytes = products->input_bytes;
    if (!are_wide(products)) {
        to += first / group * rows * sizeof(float);
        products->interleave(row, rows, input_groups(products, count), rows, (float *)(void *)to);
        return;
    }
    for (size_t r = 0; r < rows; ++r) {
        const char *from = (const char *)row[r];
        for (size_t c = first; c < first + count;) {
            const size_t whole = group - c % group, left = first + count - c;
            const size_t here = left < whole ? left : whole;
            memcpy(to + (c / group * rows + r) * group * bytes + c % group * bytes, from, here * bytes);
            from += here * bytes;
            c += here;
        }
    }
}

/* Terms of a row that are rounded before those of all rows are interleaved: what they take of the first-level
 * cache is little. Whole groups. */
#define ROUNDED_AT_ONCE 256

/* terms[row][count] from `first` on, rounded. An input group is as long as a float, and travels as one. */
static void store_rounded(const packed_products *products, size_t rows, const float *const *terms,
                          const float *factor, size_t first, size_t count, char *to)
{
    float rounded[PACKED_MOST_ROWS][ROUNDED_AT_ONCE / 2], scaled[ROUNDED_AT_ONCE];
    const float *from[PACKED_MOST_ROWS];
    for (size_t c = 0; c < count; c += ROUNDED_AT_ONCE) {
        const size_t here = count - c < ROUNDED_AT_ONCE ? count - c : ROUNDED_AT_ONCE;
        for (size_t r = 0; r < rows; ++r) {
            const float *row = terms[r] + first + c;
            for (size_t i = 0; i < here && factor != NULL; ++i) {
                scaled[i] = factor[r] * row[i];
            }
            products->round(factor == NULL ? row : scaled, here, rounded[r]);
            from[r] = rounded[r];
        }
        adamoe_packed_store_terms(products, rows, from, c, here, to);
    }
}

static void store_rounded_rows(const packed_matrix *matrix, const packed_group *group, size_t tile,
                               size_t rows, const float *const *terms, const float *factor, char *inputs)
{
    for (size_t first = 0; first < matrix->depth; first += matrix->blocks.depth) {
        const size_t left = matrix->depth - first;
        store_rounded(matrix->products, rows, terms, factor, first,
                      left < matrix->blocks.depth ? left : matrix->blocks.depth,
                      inputs + adamoe_packed_input_at(matrix, group, tile, first));
    }
}

void adamoe_packed_store_tile(const packed_matrix *matrix, const packed_group *group, size_t tile,
                              const float *const *terms, const float *factor, float *scratch, char *inputs,
                              packed_row_scale *scale)
{
    const size_t rows = adamoe_packed_tile_rows(group, tile).count;
    if (are_wide(matrix->products) && matrix->depth > 0) {
        adamoe_packed_pad(matrix, group, tile, inputs);
    }
    if (matrix->products->round != NULL) {
        store_rounded_rows(matrix, group, tile, rows, terms, factor, inputs);
        return;
    }
    if (matrix->products->quantise == NULL && factor == NULL) {
        store_rows(matrix, group, tile, rows, terms, inputs);
        return;
    }
    for (size_t r = 0; r < rows; ++r) {
        store_row(matrix, group, tile, r, terms[r], factor == NULL ? NULL : &factor[r], scratch, inputs,
                  &scale[r]);
    }
}

/* Zeros the terms from `first` on, in each part of each row of a group. */
static void pad_group(const packed_products *products, size_t rows, size_t first, char *group)
{
    const size_t part = products->input_group * products->input_bytes, begin = first * products->input_bytes;
    const size_t parts = rows * input_group_bytes(products) / part;
    for (size_t i = 0; i < parts; ++i) {
        memset(group + i * part + begin, 0, part - begin);
    }
}

void adamoe_packed_pad(const packed_matrix *matrix, const packed_group *group, size_t tile, char *inputs)
{
    const packed_products *products = matrix->products;
    const size_t first = (matrix->depth - 1) / matrix->blocks.depth * matrix->blocks.depth;
    const size_t there = input_groups(products, matrix->depth - first);
    const size_t all = input_groups(products, block_terms(matrix, first));
    const size_t rows = adamoe_packed_tile_rows(group, tile).count;
    const size_t bytes = rows * input_group_bytes(products);
    char *const to = inputs + adamoe_packed_input_at(matrix, group, tile, first);
    memset(to + there * bytes, 0, (all - there) * bytes);
    const size_t within = (matrix->depth - first) % products->input_group;
    if (are_wide(products) && within > 0) {
        pad_group(products, rows, within, to + (there - 1) * bytes);
    }
}

size_t adamoe_packed_widened_bytes(const packed_matrix *matrix)
{
    const packed_products *widened = matrix->products->widened;
    return widened == NULL
               ? 0
               : (matrix->blocks.depth + matrix->products->weight_group) * adamoe_packed_group_bytes(widened);
}

/* What one step of the loop works on: `wide` (0, 1, 2) panels side by side as a power of two. */
typedef struct panel_step {
    const packed_matrix *matrix;
    const packed_group *group;
    size_t first, groups; /* of the block: its first term and its groups of weights */
    const char *weights;
    size_t panel_bytes;
    packed_ahead ahead;              /* the weights of the step that follows */
    size_t tile_lines;               /* of them for each tile: rounded down, what is left comes by itself */
    const char *inputs;              /* of the block */
    size_t row_bytes;                /* of the block's inputs */
    size_t least_rows, longer_tiles; /* adamoe_packed_tile_rows, worked out once */
    float *sums;
    size_t stride;
    size_t wide;
} panel_step;

/* Few rows read their weights as one stream, which the processor fetches ahead by itself, and better. */
#define LEAST_ROWS_TO_FETCH_FOR 3

/* All tiles of the group; each fetches its share of what comes next. `configured`: for how many rows the thread is. */
static void multiply_tiles(const panel_step *s, void *widened, size_t *configured)
{
    const packed_group *group = s->group;
    const packed_products *products = s->matrix->products;
    const char *weights = s->weights;
    size_t groups = s->groups;
    if (group->products != products) {
        products->widen(weights, groups, widened);
        weights = widened;
        groups = groups * products->weight_group / group->products->weight_group;
    }
    for (size_t t = 0, row = 0; t < group->tiles; ++t) {
        const size_t rows = s->least_rows + (t < s->longer_tiles ? 1 : 0);
        if (rows != *configured && products->configure != NULL) {
            products->configure(rows);
            *configured = rows;
        }
        group->products->tile[rows].panels[s->wide](
            groups, s->inputs + row * s->row_bytes, weights, s->panel_bytes, s->sums + row * s->stride,
            s->stride, s->first == 0, (packed_ahead){s->ahead.from + t * s->tile_lines * 64, s->tile_lines});
        row += rows;
    }
}

/* Panels side by side: where one tile has all rows, so that they are few, as many as there are tiles for. */
static size_t choose_wide(const packed_group *group, size_t panels_left)
{
    if (group->tiles > 1) {
        return (size_t)1 << group->products->wide <= panels_left ? group->products->wide : 0;
    }
    size_t wide = 0;
    for (size_t i = 1; i < 3; ++i) {
        if ((size_t)1 << i <= panels_left && group->products->tile[group->rows].panels[i] != NULL) {
            wide = i;
        }
    }
    return wide;
}

static void scale_sums(const packed_matrix *matrix, const packed_part *part, size_t first_panel,
                       size_t panels, const packed_group *group, const packed_row_scale *row_scale,
                       packed_sums sums)
{
    const size_t width = PACKED_VECTORS * matrix->products->lanes;
    for (size_t p = 0; p < panels; ++p) {
        packed_scales scales = {.row = row_scale};
        if (part->scale != NULL) {
            scales.output = part->scale + (first_panel + p) * width;
        }
        if (part->excess != NULL) {
            scales.excess = part->excess + (first_panel + p) * width;
        }
        matrix->products->scale_sums(sums.at + p * width, sums.stride, group->rows, scales);
    }
}

/* The first panels of the block that begins at term `first`; nothing beyond the last block. */
static packed_ahead next_block(const packed_matrix *matrix, const packed_part *part, size_t first,
                               size_t panel, size_t count)
{
    if (first >= matrix->depth) {
        return (packed_ahead){NULL, 0};
    }
    const size_t bytes =
        adamoe_packed_block_groups(matrix, first) * adamoe_packed_group_bytes(matrix->products);
    return (packed_ahead){adamoe_packed_panel(matrix, part, first, panel), count * bytes / 64};
}

void adamoe_packed_multiply(const packed_matrix *matrix, const packed_part *part, size_t first_panel,
                            size_t panels, const packed_group *group, const char *inputs,
                            const packed_row_scale *row_scale, packed_sums sums, void *widened)
{
    const size_t width = PACKED_VECTORS * matrix->products->lanes;
    const size_t group_bytes = adamoe_packed_group_bytes(matrix->products);
    size_t configured = 0;
    for (size_t r = 0; r < group->rows && matrix->depth == 0; ++r) {
        memset(sums.at + r * sums.stride, 0, panels * width * sizeof(float));
    }
    for (size_t first = 0; first < matrix->depth; first += matrix->blocks.depth) {
        const size_t groups = adamoe_packed_block_groups(matrix, first), bytes = groups * group_bytes;
        const size_t next_first = first + matrix->blocks.depth;
        panel_step step = {.matrix = matrix,
                           .group = group,
                           .first = first,
                           .groups = groups,
                           .panel_bytes = bytes,
                           .inputs = inputs + adamoe_packed_input_at(matrix, group, 0, first),
                           .row_bytes = input_groups(matrix->products, block_terms(matrix, first)) *
                                        input_group_bytes(matrix->products),
                           .least_rows = group->rows / group->tiles,
                           .longer_tiles = group->rows % group->tiles,
                           .stride = sums.stride};
        for (size_t p = 0; p < panels;) {
            const size_t wide = choose_wide(group, panels - p), count = (size_t)1 << wide;
            const char *weights = adamoe_packed_panel(matrix, part, first, first_panel + p);
            packed_ahead ahead = {weights + count * bytes, count * bytes / 64};
            if (p + count == panels) {
                ahead = next_block(matrix, part, next_first, first_panel, count);
            }
            if (group->rows < LEAST_ROWS_TO_FETCH_FOR) {
                ahead.lines = 0;
            }
            step.weights = weights;
            step.ahead = ahead;
            step.tile_lines = ahead.lines / group->tiles;
            step.sums = sums.at + p * width;
            step.wide = wide;
            multiply_tiles(&step, widened, &configured);
            p += count;
        }
    }
    if (configured != 0 && matrix->products->release != NULL) {
        matrix->products->release();
    }
    if (matrix->products->scale_sums != NULL) {
        scale_sums(matrix, part, first_panel, panels, group, row_scale, sums);
    }
}

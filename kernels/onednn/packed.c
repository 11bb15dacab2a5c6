/*
 * A matrix as packed blocks of its rows, and the small things that the oneDNN kernels share.
 */
#include "onednn/packed.h"
#include "machine/node_tasks.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

size_t onednn_row_blocks(size_t rows)
{
    return (rows + ONEDNN_ROW_BLOCK - 1) / ONEDNN_ROW_BLOCK;
}

size_t onednn_row_block_size(size_t rows, size_t i)
{
    const size_t left = rows - i * ONEDNN_ROW_BLOCK;
    return left < ONEDNN_ROW_BLOCK ? left : ONEDNN_ROW_BLOCK;
}

size_t onednn_column_blocks(size_t columns)
{
    const size_t whole = columns / ONEDNN_COLUMN_BLOCK, rest = columns % ONEDNN_COLUMN_BLOCK;
    return whole + (rest > 1 || (rest == 1 && whole == 0) ? 1 : 0);
}

size_t onednn_column_block_size(size_t columns, size_t i)
{
    const size_t left = columns - i * ONEDNN_COLUMN_BLOCK;
    return left <= ONEDNN_WIDEST_BLOCK ? left : ONEDNN_COLUMN_BLOCK;
}

void onednn_packed_free(onednn_packed *packed)
{
    for (size_t b = 0; b < packed->blocks && packed->block != NULL; ++b) {
        onednn_product_free(packed->block[b]);
    }
    free(packed->block);
    *packed = (onednn_packed){0};
}

static adamoe_status begin_packed(size_t rows, size_t columns, adamoe_arithmetic type, onednn_packed *out)
{
    *out = (onednn_packed){.rows = rows,
                           .columns = columns,
                           .depth = onednn_depth(type, columns),
                           .blocks = onednn_column_blocks(rows)};
    out->block = calloc(out->blocks + 1, sizeof(onednn_product *));
    return out->block != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
}

/* The place of block b of a matrix. */
static onednn_place block_place(const onednn_place *place, size_t b, size_t blocks)
{
    onednn_place its = *place;
    its.node = place->node == ONEDNN_SPREAD ? adamoe_expert_node(place->placement, b, blocks) : place->node;
    return its;
}

adamoe_status onednn_packed_create(const adamoe_matrix *matrix, adamoe_arithmetic type, bool compact,
                                   const onednn_place *place, onednn_packed *out)
{
    ADAMOE_TRY(begin_packed(matrix->rows, matrix->columns, type, out));
    for (size_t b = 0; b < out->blocks; ++b) {
        const size_t width = onednn_column_block_size(matrix->rows, b);
        const onednn_place its = block_place(place, b, out->blocks);
        const adamoe_status status =
            onednn_product_create(matrix, b * ONEDNN_COLUMN_BLOCK, width, type, out->depth,
                                  compact ? width : matrix->rows, &its, &out->block[b]);
        if (status.code != ADAMOE_OK) {
            onednn_packed_free(out);
            return status;
        }
    }
    return adamoe_ok();
}

/* `copy` has room for the rows of one block. */
static adamoe_status pack_block_of_rows(const adamoe_matrix *matrix, const uint32_t *row, size_t b,
                                        adamoe_arithmetic type, const onednn_place *place,
                                        unsigned char *copy, onednn_packed *out)
{
    const size_t bytes = matrix->columns * adamoe_dtype_bytes(matrix->dtype);
    const size_t width = onednn_column_block_size(out->rows, b);
    for (size_t r = 0; r < width; ++r) {
        memcpy(copy + r * bytes,
               (const unsigned char *)matrix->data + row[b * ONEDNN_COLUMN_BLOCK + r] * bytes, bytes);
    }
    const adamoe_matrix rows = {copy, matrix->dtype, width, matrix->columns};
    const onednn_place its = block_place(place, b, out->blocks);
    return onednn_product_create(&rows, 0, width, type, out->depth, out->rows, &its, &out->block[b]);
}

adamoe_status onednn_packed_create_of_rows(const adamoe_matrix *matrix, const uint32_t *row, size_t count,
                                           adamoe_arithmetic type, const onednn_place *place,
                                           onednn_packed *out)
{
    ADAMOE_TRY(begin_packed(count, matrix->columns, type, out));
    unsigned char *copy = malloc(ONEDNN_WIDEST_BLOCK * matrix->columns * adamoe_dtype_bytes(matrix->dtype));
    adamoe_status status =
        copy != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    for (size_t b = 0; b < out->blocks && status.code == ADAMOE_OK; ++b) {
        status = pack_block_of_rows(matrix, row, b, type, place, copy, out);
    }
    free(copy);
    if (status.code != ADAMOE_OK) {
        onednn_packed_free(out);
    }
    return status;
}

void onednn_share_columns(const adamoe_placement *placement, size_t row_blocks, size_t blocks,
                          onednn_shares *out)
{
    const bool apart = placement->policy == ADAMOE_NUMA_EXPERTS || placement->policy == ADAMOE_NUMA_SPLIT;
    const adamoe_placement one = {.nodes = 1};
    out->count = apart ? placement->nodes : 1;
    out->first[0] = 0;
    for (uint32_t n = 0; n < out->count; ++n) {
        size_t end = 0;
        adamoe_split_range(apart ? placement : &one, n, blocks, &out->first_block[n], &end);
        out->blocks[n] = end - out->first_block[n];
        out->first_row_block[n] = 0;
        out->first[n + 1] = out->first[n] + row_blocks * out->blocks[n];
    }
}

void onednn_share_rows(const adamoe_placement *placement, const size_t *node_rows, size_t blocks,
                       onednn_shares *out)
{
    out->count = placement->nodes;
    out->first[0] = 0;
    for (uint32_t n = 0; n < out->count; ++n) {
        out->first_row_block[n] = node_rows[n];
        out->first_block[n] = 0;
        out->blocks[n] = blocks;
        out->first[n + 1] = out->first[n] + (node_rows[n + 1] - node_rows[n]) * blocks;
    }
}

void onednn_find_tile(const onednn_shares *shares, size_t i, size_t *row_block, size_t *block)
{
    uint32_t n = 0;
    while (i >= shares->first[n + 1]) {
        ++n;
    }
    i -= shares->first[n];
    *row_block = shares->first_row_block[n] + i / shares->blocks[n];
    *block = shares->first_block[n] + i % shares->blocks[n];
}

void onednn_run_tiles(const adamoe_team *team, const adamoe_placement *placement, const onednn_shares *shares,
                      void (*task)(void *context, size_t i, uint32_t thread), void *context)
{
    if (shares->count == 1) {
        team->run(team->state, shares->first[1], task, context);
    } else {
        adamoe_run_by_node(team, placement, shares->first, task, context);
    }
}

adamoe_status onednn_packed_reserve(onednn_packed *packed, size_t count)
{
    for (size_t b = 0; b < packed->blocks; ++b) {
        for (size_t i = 0; i < onednn_row_blocks(count); ++i) {
            ADAMOE_TRY(onednn_product_reserve(packed->block[b], onednn_row_block_size(count, i)));
        }
    }
    return adamoe_ok();
}

/* All blocks but the last have the same shape. */
adamoe_status onednn_packed_largest_scratch(const onednn_packed *packed, size_t *bytes)
{
    size_t last = 0;
    *bytes = 0;
    if (packed->blocks > 1) {
        ADAMOE_TRY(onednn_product_largest_scratch(packed->block[0], bytes));
    }
    if (packed->blocks > 0) {
        ADAMOE_TRY(onednn_product_largest_scratch(packed->block[packed->blocks - 1], &last));
    }
    *bytes = onednn_aligned(last > *bytes ? last : *bytes);
    return adamoe_ok();
}

adamoe_status onednn_check_scratch(const onednn_packed *packed, size_t bytes)
{
    for (size_t b = 0; b < packed->blocks; ++b) {
        const size_t asked = onednn_product_scratch(packed->block[b]);
        if (asked > bytes) {
            return adamoe_error(ADAMOE_ENVIRONMENT,
                                "oneDNN: it asks for %zu bytes of scratch memory, %zu are there", asked,
                                bytes);
        }
    }
    return adamoe_ok();
}

void onednn_store_operands(adamoe_arithmetic type, const float *from, float scale, size_t count, void *to)
{
    if (type == ADAMOE_FLOAT32) {
        float *out = to;
        for (size_t i = 0; i < count; ++i) {
            out[i] = scale * from[i];
        }
        return;
    }
    uint16_t *out = to;
    for (size_t i = 0; i < count; ++i) {
        out[i] = adamoe_float_to_bf16(scale * from[i]);
    }
}

void onednn_store_row(adamoe_arithmetic type, const float *from, float scale, size_t columns, size_t depth,
                      void *to)
{
    const size_t bytes = adamoe_arithmetic_bytes(type);
    onednn_store_operands(type, from, scale, columns, to);
    memset((unsigned char *)to + columns * bytes, 0, (depth - columns) * bytes);
}

size_t onednn_aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

void onednn_note(onednn_failures *f, uint32_t thread, adamoe_status status)
{
    if (status.code != ADAMOE_OK && f->status[thread].code == ADAMOE_OK) {
        f->status[thread] = status;
    }
}

void onednn_clear(onednn_failures *f)
{
    for (uint32_t t = 0; t < f->threads; ++t) {
        f->status[t] = adamoe_ok();
    }
}

adamoe_status onednn_first_failure(const onednn_failures *f)
{
    for (uint32_t t = 0; t < f->threads; ++t) {
        if (f->status[t].code != ADAMOE_OK) {
            return f->status[t];
        }
    }
    return adamoe_ok();
}

/*
 * A matrix as packed blocks of its rows, and the small things that the oneDNN kernels share.
 */
#include "onednn/packed.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

size_t onednn_block_count(size_t size, size_t block)
{
    return (size + block - 1) / block;
}

size_t onednn_block_size(size_t size, size_t block, size_t i)
{
    const size_t left = size - i * block;
    return left < block ? left : block;
}

void onednn_packed_free(onednn_packed *packed)
{
    for (size_t b = 0; b < packed->blocks && packed->block != NULL; ++b) {
        onednn_product_free(packed->block[b]);
    }
    free(packed->block);
    *packed = (onednn_packed){0};
}

static adamoe_status begin_packed(size_t rows, size_t columns, onednn_packed *out)
{
    *out = (onednn_packed){
        .rows = rows, .columns = columns, .blocks = onednn_block_count(rows, ONEDNN_COLUMN_BLOCK)};
    out->block = calloc(out->blocks + 1, sizeof(onednn_product *));
    return out->block != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
}

adamoe_status onednn_packed_create(const adamoe_matrix *matrix, adamoe_arithmetic type, bool compact,
                                   onednn_packed *out)
{
    ADAMOE_TRY(begin_packed(matrix->rows, matrix->columns, out));
    for (size_t b = 0; b < out->blocks; ++b) {
        const size_t width = onednn_block_size(matrix->rows, ONEDNN_COLUMN_BLOCK, b);
        const adamoe_status status = onednn_product_create(matrix, b * ONEDNN_COLUMN_BLOCK, width, type,
                                                           compact ? width : matrix->rows, &out->block[b]);
        if (status.code != ADAMOE_OK) {
            onednn_packed_free(out);
            return status;
        }
    }
    return adamoe_ok();
}

/* `copy` has room for the rows of one block. */
static adamoe_status pack_block_of_rows(const adamoe_matrix *matrix, const uint32_t *row, size_t b,
                                        adamoe_arithmetic type, unsigned char *copy, onednn_packed *out)
{
    const size_t bytes = matrix->columns * adamoe_dtype_bytes(matrix->dtype);
    const size_t width = onednn_block_size(out->rows, ONEDNN_COLUMN_BLOCK, b);
    for (size_t r = 0; r < width; ++r) {
        memcpy(copy + r * bytes,
               (const unsigned char *)matrix->data + row[b * ONEDNN_COLUMN_BLOCK + r] * bytes, bytes);
    }
    const adamoe_matrix rows = {copy, matrix->dtype, width, matrix->columns};
    return onednn_product_create(&rows, 0, width, type, out->rows, &out->block[b]);
}

adamoe_status onednn_packed_create_of_rows(const adamoe_matrix *matrix, const uint32_t *row, size_t count,
                                           adamoe_arithmetic type, onednn_packed *out)
{
    ADAMOE_TRY(begin_packed(count, matrix->columns, out));
    unsigned char *copy = malloc(ONEDNN_COLUMN_BLOCK * matrix->columns * adamoe_dtype_bytes(matrix->dtype));
    adamoe_status status =
        copy != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    for (size_t b = 0; b < out->blocks && status.code == ADAMOE_OK; ++b) {
        status = pack_block_of_rows(matrix, row, b, type, copy, out);
    }
    free(copy);
    if (status.code != ADAMOE_OK) {
        onednn_packed_free(out);
    }
    return status;
}

adamoe_status onednn_packed_reserve(onednn_packed *packed, size_t count)
{
    for (size_t b = 0; b < packed->blocks; ++b) {
        for (size_t i = 0; i < onednn_block_count(count, ONEDNN_ROW_BLOCK); ++i) {
            ADAMOE_TRY(
                onednn_product_reserve(packed->block[b], onednn_block_size(count, ONEDNN_ROW_BLOCK, i)));
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

void onednn_store_operand(adamoe_arithmetic type, const float *from, float scale, size_t count, void *to)
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

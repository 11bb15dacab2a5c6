/*
 * The frozen products: W0 and its transpose as a kernel packs them.
 */
#include "machine/host.h"
#include "numbers.h"
#include "model/span_attention.h"
#include "train/lora/lora_network_parts.h"

#include <stdlib.h>

static adamoe_status prepare(const adamoe_lora_network *n, const adamoe_matrix *matrix,
                             adamoe_prepared_matrix **out)
{
    return n->with.kernel->prepare_matrix(n->with.host, matrix, n->with.placement, out);
}

static adamoe_status prepare_transposed(const adamoe_lora_network *n, const adamoe_matrix *matrix,
                                        adamoe_prepared_matrix **out)
{
    const size_t rows = matrix->rows, columns = matrix->columns;
    float *transposed = calloc(rows * columns + 1, sizeof *transposed);
    if (transposed == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA network: out of memory for a transpose");
    }
    for (size_t r = 0; r < rows; ++r) {
        for (size_t c = 0; c < columns; ++c) {
            transposed[c * rows + r] = adamoe_element(matrix->data, matrix->dtype, r * columns + c);
        }
    }
    const adamoe_matrix view = {transposed, ADAMOE_F32, columns, rows};
    const adamoe_status status = prepare(n, &view, out);
    free(transposed);
    return status;
}

static adamoe_status freeze(const adamoe_lora_network *n, const adamoe_matrix *matrix, network_frozen *out)
{
    ADAMOE_TRY(prepare(n, matrix, &out->forward));
    return n->with.trained ? prepare_transposed(n, matrix, &out->backward) : adamoe_ok();
}

adamoe_status network_freeze(adamoe_lora_network *n)
{
    for (size_t i = 0; i < n->config->layers * ADAMOE_MAPS; ++i) {
        ADAMOE_TRY(
            freeze(n, adamoe_block_map(&n->base->block[i / ADAMOE_MAPS], i % ADAMOE_MAPS), &n->frozen[i]));
    }
    return freeze(n, &n->base->head, &n->head);
}

static void release(const adamoe_lora_network *n, const network_frozen *frozen)
{
    adamoe_prepared_matrix *const both[] = {frozen->forward, frozen->backward};
    for (size_t i = 0; i < 2; ++i) {
        if (both[i] != NULL) {
            n->with.kernel->release_matrix(both[i]);
        }
    }
}

void network_thaw(adamoe_lora_network *n)
{
    for (size_t i = 0; i < n->config->layers * ADAMOE_MAPS && n->frozen != NULL; ++i) {
        release(n, &n->frozen[i]);
    }
    release(n, &n->head);
    adamoe_heap_host.release(NULL, n->run.work);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t work_of(const adamoe_lora_network *n, const network_frozen *frozen, size_t rows)
{
    size_t (*const bytes)(const adamoe_prepared_matrix *, size_t) = n->with.kernel->matrix_work_bytes;
    const size_t back = frozen->backward == NULL ? 0 : bytes(frozen->backward, rows);
    return larger(bytes(frozen->forward, rows), back);
}

/* All layers have maps of the same sizes: the first one stands for them. */
adamoe_status network_reserve(adamoe_lora_network *n)
{
    size_t bytes = adamoe_span_attention_work_bytes(&n->call, n->with.team->threads);
    for (size_t map = 0; map < ADAMOE_MAPS && n->config->layers > 0; ++map) {
        bytes = larger(bytes, work_of(n, &n->frozen[map], n->tokens));
    }
    bytes = larger(bytes, work_of(n, &n->head, n->head_rows));
    if (bytes <= n->run.work_bytes) {
        return adamoe_ok();
    }
    adamoe_heap_host.release(NULL, n->run.work);
    n->run.work_bytes = 0;
    n->run.work = adamoe_heap_host.allocate(NULL, bytes, 64);
    if (n->run.work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA network: out of memory for %zu tokens", n->tokens);
    }
    n->run.work_bytes = bytes;
    return adamoe_ok();
}

adamoe_status network_multiply(adamoe_lora_network *n, adamoe_prepared_matrix *matrix, const float *x,
                               size_t rows, float *y)
{
    return n->with.kernel->multiply(matrix, &n->run, x, rows, y);
}

/*
 * The dense product on oneDNN, with equal rows of the matrix computed once, so that they give equal bits.
 */
#include "onednn/packed.h"
#include "machine/keep_placement.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

struct adamoe_prepared_matrix {
    adamoe_arithmetic type;
    size_t rows, columns; /* as the caller sees the matrix */
    adamoe_host host;
    adamoe_placement placement;
    size_t scratch_bytes;
    onednn_packed packed;
    uint32_t *source; /* [rows] which packed row a row equals, or NULL: each its own */
};

void onednn_release_matrix(adamoe_prepared_matrix *prepared)
{
    if (prepared == NULL) {
        return;
    }
    onednn_packed_free(&prepared->packed);
    adamoe_free_kept_placement(&prepared->host, &prepared->placement);
    free(prepared->source);
    free(prepared);
}

/* Equal rows must give equal bits, but a library may treat the last columns of a block otherwise than the
 * first ones. So equal rows are computed once. */
typedef struct row_order {
    const unsigned char *data;
    size_t bytes; /* of a row */
} row_order;

static int compare_rows(const void *a, const void *b, void *context)
{
    const row_order *order = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    const int difference =
        memcmp(order->data + i * order->bytes, order->data + j * order->bytes, order->bytes);
    return difference != 0 ? difference : (i > j) - (i < j);
}

/* first[r] = the lowest row that equals row r. */
static void find_equal_rows(const adamoe_matrix *matrix, uint32_t *sorted, uint32_t *first)
{
    row_order order = {matrix->data, matrix->columns * adamoe_dtype_bytes(matrix->dtype)};
    for (uint32_t r = 0; r < matrix->rows; ++r) {
        sorted[r] = r;
    }
    qsort_r(sorted, matrix->rows, sizeof *sorted, compare_rows, &order);
    for (size_t i = 0; i < matrix->rows; ++i) {
        const bool equal = i > 0 && memcmp(order.data + sorted[i] * order.bytes,
                                           order.data + sorted[i - 1] * order.bytes, order.bytes) == 0;
        first[sorted[i]] = equal ? first[sorted[i - 1]] : sorted[i];
    }
}

static bool has_equal_rows(const uint32_t *source, size_t rows)
{
    for (size_t r = 0; r < rows; ++r) {
        if (source[r] != r) {
            return true;
        }
    }
    return false;
}

/* Lists the rows that repeat none before them; source[r] becomes the place in that list of the row that row r
 * equals. */
static size_t list_distinct_rows(size_t rows, uint32_t *source, uint32_t *distinct)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < rows; ++r) {
        if (source[r] != r) {
            source[r] = source[source[r]]; /* a lower row, whose place is known already */
            continue;
        }
        distinct[count] = r;
        source[r] = count++;
    }
    return count;
}

static adamoe_status pack_matrix(const adamoe_matrix *matrix, const onednn_place *place,
                                 adamoe_prepared_matrix *prepared)
{
    uint32_t *sorted = malloc(matrix->rows * sizeof *sorted + 1);
    prepared->source = malloc(matrix->rows * sizeof *prepared->source + 1);
    if (sorted == NULL || prepared->source == NULL) {
        free(sorted);
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    }
    find_equal_rows(matrix, sorted, prepared->source);
    adamoe_status status;
    if (has_equal_rows(prepared->source, matrix->rows)) {
        uint32_t *distinct = sorted; /* its order is not needed any more */
        const size_t count = list_distinct_rows(matrix->rows, prepared->source, distinct);
        status =
            onednn_packed_create_of_rows(matrix, distinct, count, prepared->type, place, &prepared->packed);
    } else {
        free(prepared->source);
        prepared->source = NULL;
        status = onednn_packed_create(matrix, prepared->type, false, place, &prepared->packed);
    }
    free(sorted);
    ADAMOE_TRY(status);
    return onednn_packed_largest_scratch(&prepared->packed, &prepared->scratch_bytes);
}

adamoe_status onednn_prepare_matrix(adamoe_arithmetic type, const adamoe_host *host,
                                    const adamoe_matrix *matrix, const adamoe_placement *placement,
                                    adamoe_prepared_matrix **out)
{
    if (matrix->rows > UINT32_MAX) {
        return adamoe_error(ADAMOE_BAD_INPUT, "oneDNN: a matrix of more than 2^32 rows");
    }
    adamoe_prepared_matrix *prepared = calloc(1, sizeof *prepared);
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    }
    prepared->type = type;
    prepared->rows = matrix->rows;
    prepared->columns = matrix->columns;
    prepared->host = *host;
    const onednn_place place = {host, placement, ONEDNN_SPREAD};
    adamoe_status status = adamoe_keep_placement(host, placement, &prepared->placement);
    if (status.code == ADAMOE_OK) {
        status = pack_matrix(matrix, &place, prepared);
    }
    if (status.code != ADAMOE_OK) {
        onednn_release_matrix(prepared);
        return status;
    }
    *out = prepared;
    return adamoe_ok();
}

typedef struct matrix_layout {
    size_t input, output, scratch, status, total; /* offsets in bytes */
} matrix_layout;

static bool copies_inputs(const adamoe_prepared_matrix *p)
{
    return p->type != ADAMOE_FLOAT32 || p->packed.depth != p->columns;
}

/* Inputs are copied only to be rounded or padded, outputs only to be spread. */
static matrix_layout plan_matrix_layout(const adamoe_prepared_matrix *p, size_t count)
{
    const bool spreads = p->source != NULL;
    matrix_layout l = {0};
    l.output =
        copies_inputs(p) ? onednn_aligned(count * p->packed.depth * adamoe_arithmetic_bytes(p->type)) : 0;
    l.scratch = l.output + (spreads ? onednn_aligned(count * p->packed.rows * sizeof(float)) : 0);
    l.status = l.scratch + p->placement.threads * p->scratch_bytes;
    l.total = l.status + onednn_aligned(p->placement.threads * sizeof(adamoe_status));
    return l;
}

size_t onednn_matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count)
{
    return plan_matrix_layout(prepared, count).total;
}

typedef struct matrix_call {
    const adamoe_prepared_matrix *prepared;
    const unsigned char *input; /* [count, depth] of the product's type */
    float *output;              /* [count, packed rows] */
    float *y;                   /* [count, rows] */
    const float *x;
    size_t count;
    unsigned char *work;
    matrix_layout at;
    onednn_shares shares;
    onednn_failures failed;
} matrix_call;

static void copy_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const matrix_call *c = context;
    const adamoe_prepared_matrix *p = c->prepared;
    const size_t first = i * ONEDNN_ROW_BLOCK, rows = onednn_row_block_size(c->count, i);
    for (size_t row = first; row < first + rows; ++row) {
        onednn_store_row(p->type, c->x + row * p->columns, 1.0f, p->columns, p->packed.depth,
                         c->work + c->at.input + row * p->packed.depth * adamoe_arithmetic_bytes(p->type));
    }
}

static void multiply_task(void *context, size_t i, uint32_t thread)
{
    matrix_call *c = context;
    const adamoe_prepared_matrix *p = c->prepared;
    size_t row_block = 0, block = 0;
    onednn_find_tile(&c->shares, i, &row_block, &block);
    const unsigned char *x =
        c->input + row_block * ONEDNN_ROW_BLOCK * p->packed.depth * adamoe_arithmetic_bytes(p->type);
    float *y = c->output + row_block * ONEDNN_ROW_BLOCK * p->packed.rows + block * ONEDNN_COLUMN_BLOCK;
    onednn_note(&c->failed, thread,
                onednn_product_run(p->packed.block[block], x, onednn_row_block_size(c->count, row_block), y,
                                   c->work + c->at.scratch + thread * p->scratch_bytes));
}

static void spread_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const matrix_call *c = context;
    const adamoe_prepared_matrix *p = c->prepared;
    for (size_t t = i * ONEDNN_ROW_BLOCK; t < (i + 1) * ONEDNN_ROW_BLOCK && t < c->count; ++t) {
        for (size_t r = 0; r < p->rows; ++r) {
            c->y[t * p->rows + r] = c->output[t * p->packed.rows + p->source[r]];
        }
    }
}

adamoe_status onednn_multiply(adamoe_prepared_matrix *p, const adamoe_run *run, const float *x, size_t count,
                              float *y)
{
    matrix_call c = {.prepared = p, .x = x, .y = y, .count = count, .work = run->work};
    c.at = plan_matrix_layout(p, count);
    if (run->work_bytes < c.at.total || run->team->threads > p->placement.threads) {
        return adamoe_error(ADAMOE_BAD_INPUT, "oneDNN: workspace too small, or more threads than placed");
    }
    ADAMOE_TRY(onednn_packed_reserve(&p->packed, count));
    ADAMOE_TRY(onednn_check_scratch(&p->packed, p->scratch_bytes));
    c.failed = (onednn_failures){(adamoe_status *)(void *)(c.work + c.at.status), run->team->threads};
    onednn_clear(&c.failed);
    const adamoe_team *team = run->team;
    const size_t row_blocks_here = onednn_row_blocks(count);
    c.input = (const unsigned char *)x;
    if (copies_inputs(p)) {
        c.input = c.work + c.at.input;
        team->run(team->state, row_blocks_here, copy_task, &c);
    }
    c.output = p->source == NULL ? y : (float *)(void *)(c.work + c.at.output);
    onednn_share_columns(&p->placement, row_blocks_here, p->packed.blocks, &c.shares);
    onednn_run_tiles(team, &p->placement, &c.shares, multiply_task, &c);
    if (p->source != NULL) {
        team->run(team->state, row_blocks_here, spread_task, &c);
    }
    return onednn_first_failure(&c.failed);
}

/*
 * Wrong kernels that break where a block of theirs ends, or a table of theirs is full: at the sizes of real
 * models, and not at small ones. Blocks are declared truthfully; what nobody declares are the lengths of tables
 * and the widths of counters.
 *
 * Left out: byte offsets of 31 bits, which take a matrix of 2 GiB to show.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

/* Terms first .. end - 1 of a row of the matrix, onto a sum. */
static float add_terms(const packed_matrix *matrix, size_t r, const float *x, size_t first, size_t end,
                       float sum)
{
    const float *weight = matrix->value + r * matrix->columns;
    for (size_t i = first; i < end; ++i) {
        sum = fmaf(weight[i], x[i], sum);
    }
    return sum;
}

/* -------------------------------------------------------------------------------- A: blocks of the depth */

/* beta = 0 for every block instead of the first. Wrong for sums of more than 4096 terms. */
static float dot_of_last_block(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                               const operand *x)
{
    enum { DEPTH = 4096 };
    const size_t first = matrix->columns == 0 ? 0 : (matrix->columns - 1) / DEPTH * DEPTH;
    (void)c;
    (void)row;
    return add_terms(matrix, r, x->value, first, matrix->columns, 0.0f);
}
WRONG_TILES(depth_overwritten, "wrong-depth-block-overwritten",
            "each block of 4096 terms overwrites the sum of those before", ADAMOE_FLOAT32,
            (.rows = 4, .columns = 8, .depth = 4096), .dot = dot_of_last_block);

/* Two packing buffers in turn: the tail is packed into the one that is not read. Wrong for a tail behind an even
 * number of whole blocks: 2049 terms, not 1025, nor 2048. */
static float dot_with_stale_tail(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                 const operand *x)
{
    enum { DEPTH = 1024 };
    const size_t whole = matrix->columns / DEPTH * DEPTH, tail = matrix->columns - whole;
    (void)c;
    (void)row;
    if (whole == 0 || whole / DEPTH % 2 == 1 || tail == 0) {
        return add_terms(matrix, r, x->value, 0, matrix->columns, 0.0f);
    }
    const float sum = add_terms(matrix, r, x->value, 0, whole, 0.0f);
    return add_terms(matrix, r, x->value, whole - DEPTH, whole - DEPTH + tail, sum);
}
WRONG_TILES(depth_tail_stale, "wrong-depth-tail-stale",
            "the tail behind two whole blocks of 1024 is read from the other buffer", ADAMOE_FLOAT32,
            (.rows = 4, .columns = 8, .depth = 1024), .dot = dot_with_stale_tail);

/* x as unsigned steps, as VNNI wants it, and the sum of the weights for what that adds: of the first block alone.
 * Wrong for sums of more than 4096 terms. */
static float dot_compensated_once(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                  const operand *x)
{
    enum { DEPTH = 4096 };
    const float *weight = matrix->value + r * matrix->columns;
    int32_t sum = 0;
    (void)c;
    (void)row;
    for (size_t i = 0; i < matrix->columns; ++i) {
        sum += (int32_t)weight[i] * ((int32_t)x->value[i] + 128);
        sum -= i < DEPTH ? 128 * (int32_t)weight[i] : 0;
    }
    return (float)sum * x->scale * matrix->scale[r];
}
WRONG_TILES(int8_compensation, "wrong-int8-compensation-first-block",
            "what unsigned steps add is taken off for the first 4096 terms alone", ADAMOE_INT8,
            (.rows = 4, .columns = 8, .depth = 4096), .dot = dot_compensated_once);

/* ------------------------------------------------------------------------ A: blocks of rows and of columns */

static void swap_pairs(float *value, size_t count)
{
    for (size_t i = 0; i + 1 < count; i += 2) {
        const float kept = value[i];
        value[i] = value[i + 1];
        value[i + 1] = kept;
    }
}

/* The store of a later block of rows lacks the permutation that puts pairs of columns right. Wrong for experts of
 * more than 128 rows, from two columns on. */
static void down_with_pairs_swapped(const kernel_call *c, size_t row, const packed_expert *expert,
                                    const operand *h, float *output)
{
    enum { ROWS = 128 };
    honest_down(c, row, expert, h, output);
    if (row - c->plan->offset[honest_expert_of(c->plan, row)] >= ROWS) {
        swap_pairs(output, expert->w2.rows);
    }
}
WRONG_TILES(second_row_block, "wrong-second-row-block",
            "pairs of columns are exchanged in the rows of an expert from the 129th on", ADAMOE_FLOAT32,
            (.rows = 128, .columns = 8, .depth = 4), .down = down_with_pairs_swapped);

/* The pointer into the packed weights is not advanced. Wrong for more than 2048 outputs. */
static float dot_of_first_columns(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                  const operand *x)
{
    enum { COLUMNS = 2048 };
    return honest_dot(c, row, matrix, r < COLUMNS ? r : r - COLUMNS, x);
}
WRONG_TILES(second_column_block, "wrong-second-column-block",
            "outputs from the 2049th on are those of the block before", ADAMOE_FLOAT32,
            (.rows = 4, .columns = 2048, .depth = 4), .dot = dot_of_first_columns);

/* Every tail has code of its own, and that for 27 inputs has a typing error. Wrong where the count of a dense
 * product is 27 more than a multiple of 32. */
static float dot_with_tail_of_27(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                 const operand *x)
{
    const float sum = honest_dot(c, row, matrix, r, x);
    const bool last = c->plan == NULL && c->count % 32 == 27 && row + 1 == c->count;
    return last ? fmaf(-matrix->value[r * matrix->columns], x->value[0], sum) : sum;
}
WRONG_TILES(tail_of_27, "wrong-tail-of-27", "the last of 27 inputs behind whole blocks of 32 lacks a term",
            ADAMOE_FLOAT32, (.rows = 32, .columns = 8, .depth = 4), .dot = dot_with_tail_of_27);

/* -------------------------------------------------------------------------------- B: tables of fixed length */

/* A row of x is copied into a buffer on the stack. Wrong for a hidden size over 8192. */
static void gather_8192(const kernel_call *c, size_t row, float *input)
{
    enum { MOST = 8192 };
    honest_gather(c, row, input);
    for (size_t i = MOST; i < c->prepared->hidden_size; ++i) {
        input[i] = 0.0f;
    }
}
WRONG_KERNEL(hidden_8192, "wrong-hidden-size-8192", "values of x from the 8193rd on are left out",
             ADAMOE_FLOAT32, .gather = gather_8192);

/* Wrong for an intermediate size over 8192. */
static void up_into_ring(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                         float *h)
{
    enum { MOST = 8192 };
    honest_up(c, row, expert, x, h);
    for (size_t i = MOST; i < expert->w1.rows; ++i) {
        h[i % MOST] = h[i];
    }
}
WRONG_KERNEL(intermediate_8192, "wrong-intermediate-size-8192",
             "h from the 8193rd on overwrites its beginning", ADAMOE_FLOAT32, .up = up_into_ring);

/* Wrong from the 257th expert on. */
static size_t expert_of_8_bits(const adamoe_plan *plan, size_t row)
{
    return (uint8_t)honest_expert_of(plan, row);
}
WRONG_KERNEL(experts_257, "wrong-expert-8-bit", "the id of an expert is kept in 8 bits", ADAMOE_FLOAT32,
             .expert_of = expert_of_8_bits);

/* Wrong from the 1025th expert on. */
static void down_of_1024_experts(const kernel_call *c, size_t row, const packed_expert *expert,
                                 const operand *h, float *output)
{
    enum { MOST = 1024 };
    honest_down(c, row, expert, h, output);
    if (expert - c->prepared->expert >= MOST) {
        memset(output, 0, expert->w2.rows * sizeof *output);
    }
}
WRONG_KERNEL(experts_1025, "wrong-experts-1024", "a histogram has room for 1024 experts", ADAMOE_FLOAT32,
             .down = down_of_1024_experts);

/* The steps of int8 stand in a table of 256 entries, by the low bits of the input. Wrong for a dense product of
 * more than 256 inputs. */
static float dot_by_8_bit_input(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                const operand *x)
{
    if (c->plan != NULL || row < 256) {
        return honest_dot(c, row, matrix, r, x);
    }
    float scale = 0.0f;
    for (size_t i = 0; i < matrix->columns; ++i) {
        scale = fmaxf(scale, fabsf(c->x[row % 256 * matrix->columns + i]) / 127.0f);
    }
    const operand wrong = {x->value, scale};
    return honest_dot(c, row, matrix, r, &wrong);
}
WRONG_KERNEL(inputs_257, "wrong-inputs-256",
             "inputs of a dense product from the 257th on have others' scales", ADAMOE_INT8,
             .dot = dot_by_8_bit_input);

/* Vocabularies have 128,000 rows and more. Wrong from the 65,537th row of a matrix on. */
static float dot_of_16_bit_row(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                               const operand *x)
{
    return honest_dot(c, row, matrix, (uint16_t)r, x);
}
WRONG_KERNEL(rows_16_bit, "wrong-matrix-row-16-bit", "a row of a matrix is kept in 16 bits", ADAMOE_FLOAT32,
             .dot = dot_of_16_bit_row);

/* The tokens without a row are listed first, `most` of them at most. Wrong for more such tokens in one call. */
static void combine_listed(const kernel_call *c, size_t token, size_t most)
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size;
    size_t before = 0;
    honest_combine(c, token);
    for (size_t t = 0; t < token; ++t) {
        before += plan->token_offset[t] == plan->token_offset[t + 1];
    }
    if (before >= most && plan->token_offset[token] == plan->token_offset[token + 1]) {
        memset(c->y + token * d, 0, d * sizeof *c->y);
    }
}

static void combine_256_listed(const kernel_call *c, size_t token)
{
    combine_listed(c, token, 256);
}
WRONG_KERNEL(identity_256, "wrong-identity-256",
             "identity experts add nothing behind 256 tokens without a row", ADAMOE_FLOAT32,
             .combine = combine_256_listed);

static void combine_1024_listed(const kernel_call *c, size_t token)
{
    combine_listed(c, token, 1024);
}
WRONG_KERNEL(identity_1024, "wrong-identity-1024", "the same behind 1024", ADAMOE_FLOAT32,
             .combine = combine_1024_listed);

/* Of a whole number of blocks, two at least, the last block is taken for the rest, and there is none: right for every other
 * size. */
static float dot_without_last(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                              const operand *x, size_t depth)
{
    const size_t lost = matrix->columns > depth && matrix->columns % depth == 0;
    (void)c;
    (void)row;
    return add_terms(matrix, r, x->value, 0, matrix->columns - lost, 0.0f);
}

static float dot_of_128(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                        const operand *x)
{
    return dot_without_last(c, row, matrix, r, x, 128);
}
WRONG_KERNEL(depth_of_128, "wrong-depth-multiple-of-128",
             "the last of 256, 384, ... terms is lost; nobody says 128", ADAMOE_FLOAT32, .dot = dot_of_128);

static float dot_of_256(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                        const operand *x)
{
    return dot_without_last(c, row, matrix, r, x, 256);
}
WRONG_TILES(depth_of_256, "wrong-depth-multiple-of-256", "the last of 512, 768, ... terms is lost",
            ADAMOE_FLOAT32, (.rows = 4, .columns = 8, .depth = 256), .dot = dot_of_256);

/* The same for the rows of an expert. */
static void gather_without_last(const kernel_call *c, size_t row, float *input)
{
    enum { ROWS = 64 };
    const size_t e = honest_expert_of(c->plan, row), d = c->prepared->hidden_size;
    const size_t end = c->plan->offset[e + 1], rows = end - c->plan->offset[e];
    honest_gather(c, row, input);
    if (row + 1 == end && rows > ROWS && rows % ROWS == 0) {
        memset(input, 0, d * sizeof *input);
    }
}
WRONG_TILES(rows_of_64, "wrong-rows-multiple-of-64", "the last of 128, 192, ... rows is lost", ADAMOE_FLOAT32,
            (.rows = 64, .columns = 8, .depth = 4), .gather = gather_without_last);

/* h in bfloat16 where an expert is large, which is not what it declares. */
static void round_large_h(const kernel_call *c, size_t row, operand *h, size_t count)
{
    (void)row;
    h->scale = 1.0f;
    for (size_t i = 0; i < count && c->prepared->hidden_size >= 512 && count >= 512; ++i) {
        h->value[i] = round_to_bfloat16(h->value[i]);
    }
}
WRONG_KERNEL(h_of_large, "wrong-h-of-large-in-bf16",
             "h of experts of 512 by 512 and more is rounded to bfloat16", ADAMOE_FLOAT32,
             .round_h = round_large_h);

EXPORT_KERNELS(&depth_of_128, &depth_of_256, &rows_of_64, &h_of_large, &depth_overwritten, &depth_tail_stale,
               &int8_compensation, &second_row_block, &second_column_block, &tail_of_27, &hidden_8192,
               &intermediate_8192, &experts_257, &experts_1025, &inputs_257, &rows_16_bit, &identity_256,
               &identity_1024);

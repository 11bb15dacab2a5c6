/*
 * Ten honest kernels that compute in other ways than the reference and the kernels that ship: other orders of
 * summation, other roundings on the way, rows in another order. Whoever accuses one of them is wrong.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

#define HONEST(symbol, title, text, operands, ...)                                                           \
    KERNEL_OF_PIECES(symbol, title, text, operands, (.route = NULL), __VA_ARGS__)

/* --------------------------------------------------------------------------------------- orders of summation */

static float pairwise(const float *a, const float *b, size_t count)
{
    if (count <= 1) {
        return count == 0 ? 0.0f : a[0] * b[0];
    }
    const size_t half = count / 2;
    return pairwise(a, b, half) + pairwise(a + half, b + half, count - half);
}

static float dot_pairwise(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                          const operand *x)
{
    (void)c;
    (void)row;
    return pairwise(matrix->value + r * matrix->columns, x->value, matrix->columns);
}
HONEST(pairwise_sums, "honest-pairwise", "sums of halves", ADAMOE_FLOAT32, .dot = dot_pairwise);

/* Kahan's: what an addition loses is subtracted from the next term. An infinite sum has no loss to speak of. */
static float dot_compensated(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                             const operand *x)
{
    const float *weight = matrix->value + r * matrix->columns;
    float sum = 0.0f, lost = 0.0f;
    (void)c;
    (void)row;
    for (size_t i = 0; i < matrix->columns; ++i) {
        const float term = fmaf(weight[i], x->value[i], -lost), next = sum + term;
        lost = isfinite(next) ? (next - sum) - term : 0.0f;
        sum = next;
    }
    return sum;
}
HONEST(compensated_sums, "honest-compensated", "Kahan's sums", ADAMOE_FLOAT32, .dot = dot_compensated);

static float dot_reversed(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                          const operand *x)
{
    float sum = 0.0f;
    (void)c;
    (void)row;
    for (size_t i = matrix->columns; i-- > 0;) {
        sum = fmaf(matrix->value[r * matrix->columns + i], x->value[i], sum);
    }
    return sum;
}
HONEST(reversed_sums, "honest-reversed", "sums from the last term to the first, bfloat16 operands",
       ADAMOE_BFLOAT16, .dot = dot_reversed);

static float dot_by_sevens(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                           const operand *x)
{
    enum { PARTS = 7 };
    const float *weight = matrix->value + r * matrix->columns;
    float part[PARTS] = {0.0f}, sum = 0.0f;
    (void)c;
    (void)row;
    for (size_t i = 0; i < matrix->columns; ++i) {
        part[i % PARTS] = fmaf(weight[i], x->value[i], part[i % PARTS]);
    }
    for (size_t i = 0; i < PARTS; ++i) {
        sum += part[i];
    }
    return sum;
}
HONEST(sums_by_sevens, "honest-by-sevens", "seven sums in turn, then their sum", ADAMOE_FLOAT32,
       .dot = dot_by_sevens);

static float dot_without_fma(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                             const operand *x)
{
    const float *weight = matrix->value + r * matrix->columns;
    float sum = 0.0f;
    (void)c;
    (void)row;
    for (size_t i = 0; i < matrix->columns; ++i) {
        const volatile float term = weight[i] * x->value[i]; /* rounded, whatever the compiler may contract */
        sum += term;
    }
    return sum;
}
HONEST(sums_without_fma, "honest-without-fma", "a product is rounded before it is added", ADAMOE_FLOAT32,
       .dot = dot_without_fma);

static float dot_in_double(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                           const operand *x)
{
    const float *weight = matrix->value + r * matrix->columns;
    double sum = 0.0;
    (void)c;
    (void)row;
    for (size_t i = 0; i < matrix->columns; ++i) {
        sum += (double)weight[i] * (double)x->value[i];
    }
    return (float)sum;
}
HONEST(sums_in_double, "honest-double-inside", "sums in double, rounded once, bfloat16 operands",
       ADAMOE_BFLOAT16, .dot = dot_in_double);

/* ------------------------------------------------------------------- w2 split over threads, by a fixed tree */

/* The terms of every sum of w2 go to four tasks, whatever the number of threads; their sums are added as
 * (0 + 1) + (2 + 3). So it keeps its promise of the same bits for any number of threads. */
enum { PARTS = 4 };

typedef struct split_call {
    const kernel_call *call;
    float *h;    /* [rows, intermediate_size] */
    float *part; /* [rows, PARTS, hidden_size] */
} split_call;

static void up_task(void *context, size_t row, uint32_t thread)
{
    const split_call *s = context;
    const kernel_call *c = s->call;
    const size_t d = c->prepared->hidden_size, ff = c->prepared->intermediate_size;
    operand x = {c->scratch + thread * (d + ff), 1.0f};
    c->pieces->gather(c, row, x.value);
    c->pieces->up(c, row, &c->prepared->expert[c->pieces->expert_of(c->plan, row)], &x, s->h + row * ff);
}

static void down_task(void *context, size_t i, uint32_t thread)
{
    const split_call *s = context;
    const kernel_call *c = s->call;
    const size_t d = c->prepared->hidden_size, ff = c->prepared->intermediate_size, row = i / PARTS;
    const size_t first = i % PARTS * ff / PARTS, end = (i % PARTS + 1) * ff / PARTS;
    const packed_matrix *w2 = &c->prepared->expert[c->pieces->expert_of(c->plan, row)].w2;
    (void)thread;
    for (size_t r = 0; r < d; ++r) {
        float sum = 0.0f;
        for (size_t j = first; j < end; ++j) {
            sum = fmaf(w2->value[r * ff + j], s->h[row * ff + j], sum);
        }
        s->part[i * d + r] = sum;
    }
}

static void tree_task(void *context, size_t row, uint32_t thread)
{
    const split_call *s = context;
    const size_t d = s->call->prepared->hidden_size;
    const float *part = s->part + row * PARTS * d;
    (void)thread;
    for (size_t r = 0; r < d; ++r) {
        s->call->outputs[row * d + r] = (part[r] + part[d + r]) + (part[2 * d + r] + part[3 * d + r]);
    }
}

static void run_split(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    const size_t rows = c->plan->rows;
    float *h = c->outputs + rows * c->prepared->hidden_size;
    split_call s = {c, h, h + rows * c->prepared->intermediate_size};
    team->run(team->state, rows, up_task, &s);
    team->run(team->state, PARTS * rows, down_task, &s);
    team->run(team->state, rows, tree_task, &s);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}

static size_t split_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    const size_t each = prepared->intermediate_size + PARTS * prepared->hidden_size;
    return honest_work_bytes(prepared, rows, tokens) + rows * each * sizeof(float);
}
HONEST(split_sums, "honest-split-by-tree", "sums of w2 in four tasks, added by a fixed tree", ADAMOE_FLOAT32,
       .run = run_split, .work_bytes = split_work_bytes);

/* ------------------------------------------------------------------------------------------------------- silu */

/* The reciprocal as an instruction gives it, wrong by up to 1.5 * 2^-12, and one step of Newton: 2.25 units of 2^-24
 * are left, and five roundings come on top. It is not 1 for 1, so that silu(z) is not z for large z. */
static float silu_by_newton(float z)
{
    const float t = expf(-fabsf(z)), sum = 1.0f + t;
    const float rough = (1.0f - 1.4f * 0x1p-12f) / sum;
    const float reciprocal = rough * fmaf(-sum, rough, 2.0f);
    return z >= 0.0f ? z * reciprocal : z * t * reciprocal;
}
KERNEL_PIECES(silu_newton, ADAMOE_FLOAT32, .silu = silu_by_newton);
KERNEL_PREPARES(silu_newton)
KERNEL_PREPARES_MATRIX(silu_newton)
KERNEL_TABLE(silu_newton, "honest-silu-newton", "silu by a reciprocal of 12 bits and a step of Newton",
             ADAMOE_FLOAT32, (.tiles = {4, 8, 4}, .silu_error = 10.0f, HONEST_RELEASES));

/* ---------------------------------------------------------------------------------------- rows in another order */

/* A permutation of the rows where 7919, a prime, does not divide their number. */
static void scattered_row(void *call, size_t i, uint32_t thread)
{
    const kernel_call *c = call;
    const size_t rows = c->plan->rows;
    honest_row_task(call, rows % 7919 == 0 ? rows - 1 - i : i * 7919 % rows, thread);
}

static void run_scattered(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    team->run(team->state, c->plan->rows, scattered_row, c);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}
HONEST(scattered_rows, "honest-scattered-rows", "rows in an order that looks random", ADAMOE_FLOAT32,
       .run = run_scattered);

/* ---------------------------------------------------------------------------------------------- int8 */

/* Adding 1.5 * 2^23 leaves no bits behind the point: the same as rintf, for steps of up to 190. */
static void round_by_addition(const kernel_call *c, size_t row, operand *x, size_t count)
{
    float largest = 0.0f;
    (void)c;
    (void)row;
    for (size_t i = 0; i < count; ++i) {
        largest = fmaxf(largest, fabsf(x->value[i]));
    }
    x->scale = largest / 127.0f;
    for (size_t i = 0; i < count; ++i) {
        const volatile float shifted = x->scale == 0.0f ? 0x1.8p23f : x->value[i] / x->scale + 0x1.8p23f;
        x->value[i] = fmaxf(-127.0f, fminf(127.0f, shifted - 0x1.8p23f));
    }
}
HONEST(int8_by_addition, "honest-int8-by-addition", "int8 steps are rounded by adding a large number",
       ADAMOE_INT8, .round_x = round_by_addition, .round_h = round_by_addition);

EXPORT_KERNELS(&pairwise_sums, &compensated_sums, &reversed_sums, &sums_by_sevens, &sums_without_fma,
               &sums_in_double, &split_sums, &silu_newton, &scattered_rows, &int8_by_addition);

/*
 * Wrong kernels whose bits depend on what they promise not to depend on, and races. A race that strikes at
 * random would make a test that fails at random, so each is made deterministic: it strikes whenever there are
 * two threads for it to happen between.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

/* A sum in `parts` interleaved parts: as right as any, but other bits for another number of parts. */
static float dot_in_parts(const packed_matrix *matrix, size_t r, const operand *x, size_t parts)
{
    const float *weight = matrix->value + r * matrix->columns;
    float total = 0.0f;
    for (size_t part = 0; part < parts; ++part) {
        float sum = 0.0f;
        for (size_t i = part; i < matrix->columns; i += parts) {
            sum = fmaf(weight[i], x->value[i], sum);
        }
        total += sum;
    }
    return total;
}

static float dot_by_threads(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                            const operand *x)
{
    (void)row;
    return dot_in_parts(matrix, r, x, c->run->team->threads);
}
WRONG_KERNEL(order_by_threads, "wrong-order-by-threads", "each thread sums a part", ADAMOE_FLOAT32,
             .dot = dot_by_threads);

static float dot_by_nodes(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                          const operand *x)
{
    (void)row;
    return dot_in_parts(matrix, r, x, c->nodes);
}
WRONG_KERNEL(order_by_placement, "wrong-order-by-placement", "each node sums a part", ADAMOE_FLOAT32,
             .dot = dot_by_nodes);

/* Few rows take another path than many. */
static float dot_by_rows(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                         const operand *x)
{
    if (c->plan == NULL) {
        return honest_dot(c, row, matrix, r, x);
    }
    const size_t e = honest_expert_of(c->plan, row);
    return dot_in_parts(matrix, r, x, c->plan->offset[e + 1] - c->plan->offset[e] < 4 ? 1 : 4);
}
WRONG_KERNEL(order_by_batch, "wrong-order-by-batch", "experts with four rows or more sum in another order",
             ADAMOE_FLOAT32, .dot = dot_by_rows);

/* The rows after the last whole tile of four take another path. */
static float dot_by_row_tile(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                             const operand *x)
{
    if (c->plan == NULL) {
        return honest_dot(c, row, matrix, r, x);
    }
    const size_t e = honest_expert_of(c->plan, row), first = c->plan->offset[e];
    const size_t whole = first + (c->plan->offset[e + 1] - first) / 4 * 4;
    return dot_in_parts(matrix, r, x, row < whole ? 4 : 2);
}
WRONG_KERNEL(order_by_row_tile, "wrong-order-by-row-tile", "the rows of a tail sum in another order",
             ADAMOE_FLOAT32, .dot = dot_by_row_tile);

/* The same in the dense product, where it must not be noticed by the number of inputs. */
static float dot_by_inputs(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                           const operand *x)
{
    return c->plan == NULL ? dot_in_parts(matrix, r, x, row % 4 == 0 ? 4 : 1)
                           : honest_dot(c, row, matrix, r, x);
}
WRONG_KERNEL(order_by_input, "wrong-order-by-input", "every fourth input of a dense product has its own path",
             ADAMOE_FLOAT32, .dot = dot_by_inputs);

/* What finishes first is added first: here in turn from call to call. */
static unsigned calls;

static void run_in_turn(kernel_call *c)
{
    ++calls;
    honest_run(c);
}

static void combine_in_turn(const kernel_call *c, size_t token)
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size;
    const uint32_t first = plan->token_offset[token], end = plan->token_offset[token + 1];
    float *y = c->y + token * d;
    if (calls % 2 == 0 || plan->self_scale != NULL) {
        honest_combine(c, token);
        return;
    }
    memset(y, 0, d * sizeof *y);
    for (uint32_t place = end; place-- > first;) {
        for (size_t i = 0; i < d; ++i) {
            y[i] = fmaf(plan->combine[place], c->outputs[plan->token_row[place] * d + i], y[i]);
        }
    }
}
WRONG_KERNEL(order_by_run, "wrong-order-by-run", "experts are added in the order in which they finish",
             ADAMOE_FLOAT32, .run = run_in_turn, .combine = combine_in_turn);

/* Two threads read y, add their row, and write: one of the two is lost. */
static void combine_losing_one(const kernel_call *c, size_t token)
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size, rows = plan->rows, threads = c->run->team->threads;
    const uint32_t first = plan->token_offset[token], end = plan->token_offset[token + 1];
    honest_combine(c, token);
    for (uint32_t place = first; place + 1 < end; ++place) {
        const size_t row = plan->token_row[place], next = plan->token_row[place + 1];
        for (size_t i = 0; i < d && row * threads / rows != next * threads / rows; ++i) {
            float *y = &c->y[token * d + i];
            *y = fmaf(-plan->combine[place], c->outputs[row * d + i], *y);
        }
    }
}
WRONG_KERNEL(lost_update, "wrong-lost-update",
             "two threads add to one token, and one of the two sums is lost", ADAMOE_FLOAT32,
             .combine = combine_losing_one);

/* All threads write h into the same memory: half of it is another row's when it is read. */
static void up_into_shared(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x,
                           float *h)
{
    const size_t ff = expert->w1.rows;
    honest_up(c, row, expert, x, h);
    if (c->run->team->threads > 1 && row % 2 == 1) {
        memset(h + ff / 2, 0, (ff - ff / 2) * sizeof *h);
    }
}
WRONG_KERNEL(scratch_shared, "wrong-scratch-shared", "threads overwrite each other's h", ADAMOE_FLOAT32,
             .up = up_into_shared);

/* One thread more than rows: the last thread's rows are computed by none. */
static void down_of_whole_shares(const kernel_call *c, size_t row, const packed_expert *expert,
                                 const operand *h, float *output)
{
    const size_t threads = c->run->team->threads, whole = c->plan->rows / threads * threads;
    honest_down(c, row, expert, h, output);
    if (row >= whole) {
        memset(output, 0, expert->w2.rows * sizeof *output);
    }
}
WRONG_KERNEL(remainder_skipped, "wrong-remainder-skipped",
             "the rows that remain after equal shares for all threads are not computed", ADAMOE_FLOAT32,
             .down = down_of_whole_shares);

/* The last step alone, for a caller that has the outputs of rows: of the honest kernel, the weights of the rows in the order
 * in which they are given. */
typedef struct combine_call {
    size_t hidden_size;
    const float *x, *outputs;
    const adamoe_plan *plan;
    float *y;
    bool backwards; /* the sum, which a rounding tells */
    bool self_scale;
} combine_call;

static void combine_token(void *context, size_t token, uint32_t thread)
{
    const combine_call *c = context;
    const uint32_t first = c->plan->token_offset[token], count = c->plan->token_offset[token + 1] - first;
    float *y = c->y + token * c->hidden_size;
    (void)thread;
    memset(y, 0, c->hidden_size * sizeof *y);
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t place = first + (c->backwards ? count - 1 - i : i);
        for (size_t j = 0; j < c->hidden_size; ++j) {
            y[j] = fmaf(c->plan->combine[place], c->outputs[c->plan->token_row[place] * c->hidden_size + j],
                        y[j]);
        }
    }
    for (size_t j = 0; j < c->hidden_size && c->self_scale && c->plan->self_scale != NULL; ++j) {
        y[j] = fmaf(c->plan->self_scale[token], c->x[token * c->hidden_size + j], y[j]);
    }
}

static adamoe_status combine_backwards(const adamoe_run *run, size_t hidden_size, const float *x,
                                       const float *outputs, const adamoe_plan *plan, float *y)
{
    combine_call call = {hidden_size, x, outputs, plan, y, true, true};
    run->team->run(run->team->state, plan->tokens, combine_token, &call);
    return adamoe_ok();
}
KERNEL_OF_PIECES(combine_other_order, "wrong-combine-other-order",
                 "what sums rows of other machines begins at the end", ADAMOE_FLOAT32,
                 (.combine = combine_backwards), .own_bytes = 0);

static adamoe_status combine_without_self(const adamoe_run *run, size_t hidden_size, const float *x,
                                          const float *outputs, const adamoe_plan *plan, float *y)
{
    combine_call call = {hidden_size, x, outputs, plan, y, false, false};
    run->team->run(run->team->state, plan->tokens, combine_token, &call);
    return adamoe_ok();
}
KERNEL_OF_PIECES(combine_without_identity, "wrong-combine-without-identity",
                 "what sums rows of other machines forgets identity experts", ADAMOE_FLOAT32,
                 (.combine = combine_without_self), .own_bytes = 0);

EXPORT_KERNELS(&order_by_threads, &order_by_placement, &order_by_batch, &order_by_row_tile, &order_by_input,
               &order_by_run, &lost_update, &scratch_shared, &remainder_skipped, &combine_other_order,
               &combine_without_identity);

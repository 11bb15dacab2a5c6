/*
 * Wrong kernels whose forward pass is honest and whose backward pass is not.
 */
#include "honest/honest_backward.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------- through silu */

static float slope_is_sigmoid(float z)
{
    return 1.0f / (1.0f + expf(-z));
}
WRONG_BACKWARD(silu_slope, "wrong-gradient-silu-slope", "the slope of silu lacks its second term",
               .slope = slope_is_sigmoid);

static float slope_that_overflows(float z)
{
    const float e = expf(z), sum = 1.0f + e;
    return e * (1.0f + z + e) / (sum * sum);
}
WRONG_BACKWARD(slope_overflow, "wrong-gradient-slope-overflow",
               "the slope of silu is a quotient of infinities", .slope = slope_that_overflows);

/* ----------------------------------------------------------------------------------- the row's own weight */

static void scale_row(const backward_pass *b, size_t row, float *values, float scale)
{
    for (size_t i = 0; i < b->call->intermediate_size; ++i) {
        inner_row(b, values, row)[i] *= scale;
    }
}

static void token_without_weight(const backward_pass *b, size_t token)
{
    const adamoe_plan *plan = b->call->plan;
    for (size_t place = plan->token_offset[token]; place < plan->token_offset[token + 1]; ++place) {
        scale_row(b, plan->token_row[place], b->dg, 1.0f / plan->combine[place]);
        scale_row(b, plan->token_row[place], b->du, 1.0f / plan->combine[place]);
    }
    honest_token(b, token);
}
WRONG_BACKWARD(dx_without_weight, "wrong-gradient-dx-without-weight", "dx lacks the weights of the sum",
               .token = token_without_weight);

static void row_without_weight_in_wh(const backward_pass *b, const row_place *at)
{
    honest_row(b, at);
    scale_row(b, at->row, b->wh, 1.0f / at->weight);
}
WRONG_BACKWARD(dw2_without_weight, "wrong-gradient-dw2-without-weight", "dw2 lacks the weights of the sum",
               .row = row_without_weight_in_wh);

static void row_with_weight_twice(const backward_pass *b, const row_place *at)
{
    honest_row(b, at);
    scale_row(b, at->row, b->dg, at->weight);
    scale_row(b, at->row, b->du, at->weight);
}
WRONG_BACKWARD(weight_twice, "wrong-gradient-weight-twice", "the weight is in dy and once more in dh",
               .row = row_with_weight_twice);

static void row_with_weight_in_dcombine(const backward_pass *b, const row_place *at)
{
    honest_row(b, at);
    b->call->dcombine[at->place] *= at->weight;
}
WRONG_BACKWARD(dcombine_weighted, "wrong-gradient-dcombine-weighted",
               "dcombine has the weight that it is the derivative of", .row = row_with_weight_in_dcombine);

/* By row where it should be by place: right for a token's only expert. */
static void row_with_dcombine_by_row(const backward_pass *b, const row_place *at)
{
    const size_t places = b->call->plan->token_offset[b->call->plan->tokens];
    row_place elsewhere = *at;
    elsewhere.place = at->row < places ? at->row : at->place;
    honest_row(b, &elsewhere);
}
WRONG_BACKWARD(dcombine_by_row, "wrong-gradient-dcombine-by-row", "dcombine stands in the order of the rows",
               .row = row_with_dcombine_by_row);

/* -------------------------------------------------------------------------------------------- which rows */

static void matrices_of_first_tokens(const backward_pass *b, size_t expert)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t first = plan->offset[expert];
    clear_matrices(b, expert);
    for (size_t row = first; row < plan->offset[expert + 1]; ++row) {
        add_to_matrices(b, expert, row, x_of(b, row - first), dy_of(b, row - first));
    }
}
WRONG_BACKWARD(rows_not_listed, "wrong-gradient-rows-not-listed",
               "dW reads the first rows of x and dy, not those of its tokens",
               .matrices = matrices_of_first_tokens);

static void matrices_but_last_row(const backward_pass *b, size_t expert)
{
    const adamoe_plan *plan = b->call->plan;
    clear_matrices(b, expert);
    for (size_t row = plan->offset[expert]; row + 1 < plan->offset[expert + 1]; ++row) {
        add_to_matrices(b, expert, row, x_of(b, plan->input[row]), dy_of(b, plan->input[row]));
    }
}
WRONG_BACKWARD(last_row, "wrong-gradient-last-row", "the last row of each expert does not count in dW",
               .matrices = matrices_but_last_row);

static void matrices_where_rows(const backward_pass *b, size_t expert)
{
    const adamoe_plan *plan = b->call->plan;
    if (plan->offset[expert] < plan->offset[expert + 1]) {
        honest_matrices(b, expert);
    }
}
WRONG_BACKWARD(empty_expert, "wrong-gradient-empty-expert", "dW of an expert without rows is left as it was",
               .matrices = matrices_where_rows);

static void matrices_added(const backward_pass *b, size_t expert)
{
    const adamoe_plan *plan = b->call->plan;
    for (size_t row = plan->offset[expert]; row < plan->offset[expert + 1]; ++row) {
        add_to_matrices(b, expert, row, x_of(b, plan->input[row]), dy_of(b, plan->input[row]));
    }
}
WRONG_BACKWARD(accumulated, "wrong-gradient-accumulated", "dW is added to what was there",
               .matrices = matrices_added);

/* ----------------------------------------------------------------------------------- which elements of dW */

static void matrices_swapped(const backward_pass *b, size_t expert)
{
    const size_t matrix = b->call->hidden_size * b->call->intermediate_size;
    const adamoe_float_expert_gradient *to = &b->call->dexpert[expert];
    honest_matrices(b, expert);
    for (size_t i = 0; i < matrix; ++i) {
        const float kept = to->w1[i];
        to->w1[i] = to->w3[i];
        to->w3[i] = kept;
    }
}
WRONG_BACKWARD(w1_w3_swapped, "wrong-gradient-w1-w3-swapped", "dw1 and dw3 are exchanged",
               .matrices = matrices_swapped);

/* The columns after the last whole vector of eight. */
static void matrices_without_tail(const backward_pass *b, size_t expert)
{
    const size_t d = b->call->hidden_size, ff = b->call->intermediate_size;
    honest_matrices(b, expert);
    for (size_t i = 0; i < ff; ++i) {
        for (size_t j = d / 8 * 8; j < d; ++j) {
            b->call->dexpert[expert].w3[i * d + j] = 0.0f;
        }
    }
}
WRONG_BACKWARD(tail_columns, "wrong-gradient-tail-columns",
               "dw3 lacks the columns after the last whole vector", .matrices = matrices_without_tail);

/* As if the matrix stood the other way: right where it is square and nothing but the
 * diagonal is looked at. */
static void matrices_untransposed(const backward_pass *b, size_t expert)
{
    const size_t d = b->call->hidden_size, ff = b->call->intermediate_size;
    const adamoe_plan *plan = b->call->plan;
    float *w2 = b->call->dexpert[expert].w2;
    honest_matrices(b, expert);
    memset(w2, 0, d * ff * sizeof *w2);
    for (size_t row = plan->offset[expert]; row < plan->offset[expert + 1]; ++row) {
        const float *dy = dy_of(b, plan->input[row]);
        for (size_t at = 0; at < d * ff; ++at) {
            w2[at] = fmaf(dy[at % d], inner_row(b, b->wh, row)[at / d], w2[at]);
        }
    }
}
WRONG_BACKWARD(dw2_transposed, "wrong-gradient-dw2-transposed", "dw2 stands as its transpose",
               .matrices = matrices_untransposed);

/* ------------------------------------------------------------------------------------------ dx of a token */

static void token_of_last_expert(const backward_pass *b, size_t token)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t d = b->call->hidden_size, end = plan->token_offset[token + 1];
    float *dx = b->call->dx + token * d;
    honest_token(b, token);
    if (end > plan->token_offset[token] && plan->self_scale == NULL) {
        memset(dx, 0, d * sizeof *dx);
        add_to_input(b, plan->token_row[end - 1], dx);
    }
}
WRONG_BACKWARD(dx_overwritten, "wrong-gradient-dx-overwritten", "each expert overwrites dx of the one before",
               .token = token_of_last_expert);

static void token_with_rows(const backward_pass *b, size_t token)
{
    const adamoe_plan *plan = b->call->plan;
    if (plan->token_offset[token] < plan->token_offset[token + 1] || plan->self_scale != NULL) {
        honest_token(b, token);
    }
}
WRONG_BACKWARD(null_token, "wrong-gradient-null-token", "dx of a token without experts is not written",
               .token = token_with_rows);

static void token_without_identity(const backward_pass *b, size_t token)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t d = b->call->hidden_size;
    honest_token(b, token);
    for (size_t j = 0; j < d && plan->self_scale != NULL; ++j) {
        float *dx = &b->call->dx[token * d + j];
        *dx = fmaf(-plan->self_scale[token], dy_of(b, token)[j], *dx);
    }
}
WRONG_BACKWARD(identity, "wrong-gradient-identity", "what flows through identity experts is not in dx",
               .token = token_without_identity);

static void token_without_self_scale(const backward_pass *b, size_t token)
{
    honest_token(b, token);
    if (b->call->dself_scale != NULL) {
        b->call->dself_scale[token] = 0.0f;
    }
}
WRONG_BACKWARD(self_scale, "wrong-gradient-self-scale", "the weights of identity experts get no gradient",
               .token = token_without_self_scale);

/* ----------------------------------------------------------------------------------- precision and memory */

static void row_of_rounded_dy(const backward_pass *b, const row_place *at)
{
    enum { MOST = 2048 };
    float dy[MOST];
    const size_t d = b->call->hidden_size;
    if (d > MOST) {
        honest_row(b, at);
        return;
    }
    for (size_t j = 0; j < d; ++j) {
        dy[j] = round_to_bfloat16(dy_of(b, at->token)[j]);
    }
    adamoe_backward_call call = *b->call;
    backward_pass rounded = *b;
    call.dy = dy - at->token * d; /* only that row of it is read */
    rounded.call = &call;
    honest_row(&rounded, at);
}
WRONG_BACKWARD(dy_bfloat16, "wrong-gradient-dy-bfloat16", "dy is rounded to bfloat16 on its way to dh",
               .row = row_of_rounded_dy);

/* What the forward pass should have kept, taken from the call before where the sizes are the same. */
static void run_with_stale_rows(backward_pass *b)
{
    enum { MOST = 1 << 16 };
    static float kept[MOST];
    static size_t kept_count, kept_width;
    const size_t count = b->call->plan->rows * b->call->intermediate_size;
    honest_backward_run(b);
    if (count > MOST) {
        return;
    }
    if (kept_count == count && kept_width == b->call->intermediate_size) {
        memcpy(b->wh, kept, count * sizeof *kept);
        for (size_t e = 0; e < b->call->plan->experts; ++e) {
            honest_matrices(b, e);
        }
    } else {
        memcpy(kept, b->wh, count * sizeof *kept);
        kept_count = count;
        kept_width = b->call->intermediate_size;
    }
}
WRONG_BACKWARD(stale_hidden, "wrong-gradient-stale-hidden", "h is that of an earlier call of the same sizes",
               .run = run_with_stale_rows);

static void write_past_dw2(backward_pass *b)
{
    const size_t matrix = b->call->hidden_size * b->call->intermediate_size;
    honest_backward_run(b);
    b->call->dexpert[0].w2[matrix] = 0.0f;
}
WRONG_BACKWARD(past_dw2, "wrong-gradient-past-dw2", "one float behind dw2 is written", .run = write_past_dw2);

/* ------------------------------------------------------------------------------------------ order of sums */

/* Each part of the rows is summed on its own, as by so many threads. */
static void matrices_in_parts(const backward_pass *b, size_t expert, size_t parts)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t matrix = b->call->hidden_size * b->call->intermediate_size;
    const adamoe_float_expert_gradient *to = &b->call->dexpert[expert];
    const size_t first = plan->offset[expert], end = plan->offset[expert + 1];
    honest_matrices(b, expert);
    for (size_t i = 0; i < matrix; ++i) {
        float total = 0.0f;
        for (size_t part = 0; part < parts; ++part) {
            float sum = 0.0f;
            for (size_t row = first + part; row < end; row += parts) {
                const size_t d = b->call->hidden_size;
                sum = fmaf(inner_row(b, b->dg, row)[i / d], x_of(b, plan->input[row])[i % d], sum);
            }
            total += sum;
        }
        to->w1[i] = total;
    }
}

static void matrices_by_threads(const backward_pass *b, size_t expert)
{
    matrices_in_parts(b, expert, b->run->team->threads);
}
WRONG_BACKWARD(order_by_threads, "wrong-gradient-order-by-threads", "each thread sums a part of dw1",
               .matrices = matrices_by_threads);

static void matrices_by_batch(const backward_pass *b, size_t expert)
{
    matrices_in_parts(b, expert, b->call->plan->rows < 16 ? 1 : 2);
}
WRONG_BACKWARD(order_by_batch, "wrong-gradient-order-by-batch",
               "the order of the sums of dw1 depends on the rows of other experts",
               .matrices = matrices_by_batch);

/* Two threads read dx, add their row, and write: one of the two is lost. */
static void token_losing_one(const backward_pass *b, size_t token)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t threads = b->run->team->threads, first = plan->token_offset[token];
    const size_t end = plan->token_offset[token + 1];
    const bool lost = end > first + 1 && plan->token_row[first] * threads / plan->rows !=
                                             plan->token_row[end - 1] * threads / plan->rows;
    if (lost) {
        token_of_last_expert(b, token);
    } else {
        honest_token(b, token);
    }
}
WRONG_BACKWARD(lost_update, "wrong-gradient-lost-update", "two threads add to one dx, and one sum is lost",
               .token = token_losing_one);

EXPORT_KERNELS(&silu_slope, &slope_overflow, &dx_without_weight, &dw2_without_weight, &weight_twice,
               &dcombine_weighted, &dcombine_by_row, &rows_not_listed, &last_row, &empty_expert, &accumulated,
               &w1_w3_swapped, &tail_columns, &dw2_transposed, &dx_overwritten, &null_token, &identity,
               &self_scale, &dy_bfloat16, &stale_hidden, &past_dw2, &order_by_threads, &order_by_batch,
               &lost_update);

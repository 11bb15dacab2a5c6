/*
 * Wrong kernels that misread the plan: which rows an expert has, what they read, and where their outputs go.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------ which rows there are */

static void forget_output(const kernel_call *c, size_t row)
{
    const size_t d = c->prepared->hidden_size;
    memset(c->outputs + row * d, 0, d * sizeof *c->outputs);
}

static void down_but_last_row(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                              float *output)
{
    honest_down(c, row, expert, h, output);
    if (row + 1 == c->plan->offset[honest_expert_of(c->plan, row) + 1]) {
        forget_output(c, row);
    }
}
WRONG_KERNEL(last_token_dropped, "wrong-last-token-dropped", "the last row of each expert is left out",
             ADAMOE_FLOAT32, .down = down_but_last_row);

static size_t expert_off_by_one(const adamoe_plan *plan, size_t row)
{
    const size_t e = honest_expert_of(plan, row);
    return row == plan->offset[e] && e > 0 ? e - 1 : e;
}
WRONG_KERNEL(off_by_one, "wrong-plan-off-by-one", "the first row of an expert is given to the one before",
             ADAMOE_FLOAT32, .expert_of = expert_off_by_one);

/* Engines that give skipped experts the id 0 skip expert 0 as well when they filter by it. */
static void down_but_expert_0(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                              float *output)
{
    honest_down(c, row, expert, h, output);
    if (expert == c->prepared->expert) {
        forget_output(c, row);
    }
}
WRONG_KERNEL(expert_0_skipped, "wrong-expert-0-skipped", "id 0 is taken for no expert", ADAMOE_FLOAT32,
             .down = down_but_expert_0);

static void down_of_65536_rows(const kernel_call *c, size_t row, const packed_expert *expert,
                               const operand *h, float *output)
{
    honest_down(c, row, expert, h, output);
    if (row > UINT16_MAX) {
        forget_output(c, row);
    }
}
WRONG_KERNEL(rows_65536, "wrong-rows-65536", "rows from 65536 on are not computed", ADAMOE_FLOAT32,
             .down = down_of_65536_rows);

static size_t expert_of_16_bits(const adamoe_plan *plan, size_t row)
{
    for (size_t e = 0; e < plan->experts; ++e) {
        if ((uint16_t)plan->offset[e] <= row && row < (uint16_t)plan->offset[e + 1]) {
            return e;
        }
    }
    return 0;
}
WRONG_KERNEL(offset_16_bit, "wrong-offset-16-bit", "offsets are kept in 16 bits", ADAMOE_FLOAT32,
             .expert_of = expert_of_16_bits);

/* ------------------------------------------------------------------------------------ what rows read */

static void gather_in_order(const kernel_call *c, size_t row, float *input)
{
    const size_t d = c->prepared->hidden_size;
    const float scale = c->plan->dispatch == NULL ? 1.0f : c->plan->dispatch[row];
    for (size_t i = 0; i < d; ++i) {
        input[i] = scale * c->x[row % c->plan->inputs * d + i];
    }
}
WRONG_KERNEL(input_in_order, "wrong-input-in-order", "row r reads input r instead of input[r]",
             ADAMOE_FLOAT32, .gather = gather_in_order);

static void gather_unscaled(const kernel_call *c, size_t row, float *input)
{
    const size_t d = c->prepared->hidden_size;
    memcpy(input, c->x + c->plan->input[row] * d, d * sizeof *input);
}
WRONG_KERNEL(dispatch_ignored, "wrong-dispatch-ignored", "inputs are not scaled", ADAMOE_FLOAT32,
             .gather = gather_unscaled);

/* Identity experts where inputs are scaled: both at once. */
static void combine_one_scale(const kernel_call *c, size_t token)
{
    adamoe_plan plan = *c->plan;
    kernel_call call = *c;
    plan.self_scale = plan.dispatch != NULL ? NULL : plan.self_scale;
    call.plan = &plan;
    honest_combine(&call, token);
}
WRONG_KERNEL(one_scale, "wrong-one-scale", "identity experts are forgotten where inputs are scaled",
             ADAMOE_FLOAT32, .combine = combine_one_scale);

static void swap_experts(packed_expert *expert, size_t experts)
{
    const packed_expert first = expert[0];
    expert[0] = expert[experts - 1];
    expert[experts - 1] = first;
}
WRONG_KERNEL(experts_swapped, "wrong-experts-swapped", "the first and the last expert change places",
             ADAMOE_FLOAT32, .arrange = swap_experts);

/* ---------------------------------------------------------------------------------- where outputs go */

static void add_row(const kernel_call *c, size_t token, size_t row, float weight)
{
    const size_t d = c->prepared->hidden_size;
    for (size_t i = 0; i < d; ++i) {
        float *y = &c->y[token * d + i];
        *y = fmaf(weight, c->outputs[row * d + i], *y);
    }
}

static void add_identity(const kernel_call *c, size_t token)
{
    const size_t d = c->prepared->hidden_size;
    for (size_t i = 0; i < d && c->plan->self_scale != NULL; ++i) {
        float *y = &c->y[token * d + i];
        *y = fmaf(c->plan->self_scale[token], c->x[token * d + i], *y);
    }
}

static void clear(const kernel_call *c, size_t token)
{
    const size_t d = c->prepared->hidden_size;
    memset(c->y + token * d, 0, d * sizeof *c->y);
}

static void combine_by_row(const kernel_call *c, size_t token)
{
    clear(c, token);
    for (size_t i = c->plan->token_offset[token]; i < c->plan->token_offset[token + 1]; ++i) {
        const uint32_t row = c->plan->token_row[i];
        add_row(c, token, row, c->plan->combine[row]);
    }
    add_identity(c, token);
}
WRONG_KERNEL(combine_by_row_, "wrong-combine-by-row", "combine is read by row instead of by place",
             ADAMOE_FLOAT32, .combine = combine_by_row);

/* Looks for the rows that read token t, and so takes slots for tokens. */
static void combine_by_input(const kernel_call *c, size_t token)
{
    clear(c, token);
    for (size_t i = c->plan->token_offset[token]; i < c->plan->token_offset[token + 1]; ++i) {
        const uint32_t row = c->plan->token_row[i];
        if (c->plan->input[row] == token) {
            add_row(c, token, row, c->plan->combine[i]);
        }
    }
    add_identity(c, token);
}
WRONG_KERNEL(slots_are_tokens, "wrong-slots-are-tokens", "a row counts for the token that it reads alone",
             ADAMOE_FLOAT32, .combine = combine_by_input);

static void combine_two(const kernel_call *c, size_t token)
{
    const uint32_t first = c->plan->token_offset[token];
    const uint32_t end = c->plan->token_offset[token + 1];
    clear(c, token);
    for (size_t i = first; i < end && i < first + 2u; ++i) {
        add_row(c, token, c->plan->token_row[i], c->plan->combine[i]);
    }
    add_identity(c, token);
}
WRONG_KERNEL(two_experts_at_most, "wrong-two-experts-at-most", "a token's third expert is left out",
             ADAMOE_FLOAT32, .combine = combine_two);

/* The weights of a plan need not add up to 1: norm may be all or none. */
static void combine_renormalised(const kernel_call *c, size_t token)
{
    float sum = 0.0f;
    clear(c, token);
    for (size_t i = c->plan->token_offset[token]; i < c->plan->token_offset[token + 1]; ++i) {
        sum += c->plan->combine[i];
    }
    for (size_t i = c->plan->token_offset[token]; i < c->plan->token_offset[token + 1]; ++i) {
        add_row(c, token, c->plan->token_row[i], c->plan->combine[i] / sum);
    }
    add_identity(c, token);
}
WRONG_KERNEL(combine_renormalised_, "wrong-combine-renormalised",
             "a token's weights are divided by their sum", ADAMOE_FLOAT32, .combine = combine_renormalised);

static void combine_without_identity(const kernel_call *c, size_t token)
{
    clear(c, token);
    for (size_t i = c->plan->token_offset[token]; i < c->plan->token_offset[token + 1]; ++i) {
        add_row(c, token, c->plan->token_row[i], c->plan->combine[i]);
    }
}
WRONG_KERNEL(identity_forgotten, "wrong-identity-forgotten", "identity experts add nothing", ADAMOE_FLOAT32,
             .combine = combine_without_identity);

static bool has_no_row(const kernel_call *c, size_t token)
{
    return c->plan->token_offset[token] == c->plan->token_offset[token + 1];
}

static void combine_identity_with_rows(const kernel_call *c, size_t token)
{
    clear(c, token);
    if (!has_no_row(c, token)) {
        honest_combine(c, token);
    }
}
WRONG_KERNEL(identity_needs_rows, "wrong-identity-needs-rows",
             "identity experts add nothing where no true expert is selected", ADAMOE_FLOAT32,
             .combine = combine_identity_with_rows);

static void combine_with_rows(const kernel_call *c, size_t token)
{
    if (!has_no_row(c, token)) {
        honest_combine(c, token);
    }
}
WRONG_KERNEL(null_rows_unwritten, "wrong-null-rows-unwritten",
             "y of a token without a true expert is not written", ADAMOE_FLOAT32,
             .combine = combine_with_rows);

static void combine_onto_y(const kernel_call *c, size_t token)
{
    for (size_t i = c->plan->token_offset[token]; i < c->plan->token_offset[token + 1]; ++i) {
        add_row(c, token, c->plan->token_row[i], c->plan->combine[i]);
    }
    add_identity(c, token);
}
WRONG_KERNEL(y_assumed_zero, "wrong-y-assumed-zero", "outputs are added to what y held", ADAMOE_FLOAT32,
             .combine = combine_onto_y);

EXPORT_KERNELS(&last_token_dropped, &off_by_one, &expert_0_skipped, &rows_65536, &offset_16_bit,
               &input_in_order, &dispatch_ignored, &one_scale, &experts_swapped, &combine_by_row_,
               &slots_are_tokens, &two_experts_at_most, &combine_renormalised_, &identity_forgotten,
               &identity_needs_rows, &null_rows_unwritten, &y_assumed_zero);

/*
 * The honest pieces of a backward pass: what adamoe.h defines, in float32 and in the order in which it stands
 * there.
 */
#include "honest/honest_backward.h"

#include <math.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------- where a row is */

row_place place_of(const backward_pass *b, size_t row)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t token = plan->input[row];
    size_t place = plan->token_offset[token];
    while (plan->token_row[place] != row) {
        ++place;
    }
    return (row_place){row, honest_expert_of(plan, row), token, place, plan->combine[place]};
}

const float *x_of(const backward_pass *b, size_t token)
{
    return b->call->x + token * b->call->hidden_size;
}

const float *dy_of(const backward_pass *b, size_t token)
{
    return b->call->dy + token * b->call->hidden_size;
}

float *inner_row(const backward_pass *b, float *values, size_t row)
{
    return values + row * b->call->intermediate_size;
}

/* ------------------------------------------------------------------------------------------------ one row */

static float dot(const float *a, size_t stride, const float *x, size_t count)
{
    float sum = 0.0f;
    for (size_t i = 0; i < count; ++i) {
        sum = fmaf(a[i * stride], x[i], sum);
    }
    return sum;
}

/* s (1 + z (1 - s)), with both s and 1 - s from exp(-|z|). */
float honest_slope(float z)
{
    const float t = expf(-fabsf(z)), small = t / (1.0f + t), large = 1.0f / (1.0f + t);
    return z >= 0.0f ? large * fmaf(z, small, 1.0f) : small * fmaf(z, large, 1.0f);
}

void honest_row(const backward_pass *b, const row_place *at)
{
    const size_t d = b->call->hidden_size, ff = b->call->intermediate_size;
    const adamoe_float_expert *expert = &b->call->expert[at->expert];
    const float *x = x_of(b, at->token), *dy = dy_of(b, at->token);
    float derivative = 0.0f;
    for (size_t i = 0; i < ff; ++i) {
        const float g = dot(expert->w1 + i * d, 1, x, d), u = dot(expert->w3 + i * d, 1, x, d);
        const float dh = dot(expert->w2 + i, ff, dy, d), h = honest_silu(g) * u;
        inner_row(b, b->dg, at->row)[i] = at->weight * dh * u * b->pieces.slope(g);
        inner_row(b, b->du, at->row)[i] = at->weight * dh * honest_silu(g);
        inner_row(b, b->wh, at->row)[i] = at->weight * h;
        derivative = fmaf(dh, h, derivative);
    }
    b->call->dcombine[at->place] = derivative;
}

/* --------------------------------------------------------------------------------------------- one expert */

void clear_matrices(const backward_pass *b, size_t expert)
{
    const adamoe_float_expert_gradient *to = &b->call->dexpert[expert];
    const size_t bytes = b->call->hidden_size * b->call->intermediate_size * sizeof(float);
    memset(to->w1, 0, bytes);
    memset(to->w3, 0, bytes);
    memset(to->w2, 0, bytes);
}

void add_to_matrices(const backward_pass *b, size_t expert, size_t row, const float *x, const float *dy)
{
    const size_t d = b->call->hidden_size, ff = b->call->intermediate_size;
    const adamoe_float_expert_gradient *to = &b->call->dexpert[expert];
    for (size_t i = 0; i < ff; ++i) {
        for (size_t j = 0; j < d; ++j) {
            to->w1[i * d + j] = fmaf(inner_row(b, b->dg, row)[i], x[j], to->w1[i * d + j]);
            to->w3[i * d + j] = fmaf(inner_row(b, b->du, row)[i], x[j], to->w3[i * d + j]);
            to->w2[j * ff + i] = fmaf(dy[j], inner_row(b, b->wh, row)[i], to->w2[j * ff + i]);
        }
    }
}

void honest_matrices(const backward_pass *b, size_t expert)
{
    const adamoe_plan *plan = b->call->plan;
    clear_matrices(b, expert);
    for (size_t row = plan->offset[expert]; row < plan->offset[expert + 1]; ++row) {
        add_to_matrices(b, expert, row, x_of(b, plan->input[row]), dy_of(b, plan->input[row]));
    }
}

/* ---------------------------------------------------------------------------------------------- one token */

void add_to_input(const backward_pass *b, size_t row, float *dx)
{
    const size_t d = b->call->hidden_size, ff = b->call->intermediate_size;
    const adamoe_float_expert *expert = &b->call->expert[place_of(b, row).expert];
    for (size_t i = 0; i < ff; ++i) {
        for (size_t j = 0; j < d; ++j) {
            dx[j] = fmaf(expert->w1[i * d + j], inner_row(b, b->dg, row)[i], dx[j]);
            dx[j] = fmaf(expert->w3[i * d + j], inner_row(b, b->du, row)[i], dx[j]);
        }
    }
}

void honest_token(const backward_pass *b, size_t token)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t d = b->call->hidden_size;
    float *dx = b->call->dx + token * d;
    memset(dx, 0, d * sizeof *dx);
    for (size_t place = plan->token_offset[token]; place < plan->token_offset[token + 1]; ++place) {
        add_to_input(b, plan->token_row[place], dx);
    }
    if (plan->self_scale != NULL) {
        for (size_t j = 0; j < d; ++j) {
            dx[j] = fmaf(plan->self_scale[token], dy_of(b, token)[j], dx[j]);
        }
        b->call->dself_scale[token] = dot(dy_of(b, token), 1, x_of(b, token), d);
    }
}

/* -------------------------------------------------------------------------------------------- all of them */

static void row_task(void *context, size_t row, uint32_t thread)
{
    const backward_pass *b = context;
    const row_place at = place_of(b, row);
    (void)thread;
    b->pieces.row(b, &at);
}

static void matrices_task(void *context, size_t expert, uint32_t thread)
{
    const backward_pass *b = context;
    (void)thread;
    b->pieces.matrices(b, expert);
}

static void token_task(void *context, size_t token, uint32_t thread)
{
    const backward_pass *b = context;
    (void)thread;
    b->pieces.token(b, token);
}

void honest_backward_run(backward_pass *b)
{
    const adamoe_team *team = b->run->team;
    team->run(team->state, b->call->plan->rows, row_task, b);
    team->run(team->state, b->call->plan->experts, matrices_task, b);
    team->run(team->state, b->call->plan->tokens, token_task, b);
}

size_t backward_pieces_bytes(const adamoe_backward_call *call, uint32_t threads)
{
    (void)threads;
    return 3 * call->plan->rows * call->intermediate_size * sizeof(float);
}

#define OR_HONEST(piece, honest) (given->piece != NULL ? given->piece : (honest))

adamoe_status run_backward_pieces(const backward_pieces *given, const adamoe_run *run,
                                  const adamoe_backward_call *call)
{
    const size_t inner = call->plan->rows * call->intermediate_size;
    float *work = run->work;
    backward_pass b = {.pieces = {.run = OR_HONEST(run, honest_backward_run),
                                  .row = OR_HONEST(row, honest_row),
                                  .matrices = OR_HONEST(matrices, honest_matrices),
                                  .token = OR_HONEST(token, honest_token),
                                  .slope = OR_HONEST(slope, honest_slope)},
                       .run = run,
                       .call = call,
                       .dg = work,
                       .du = work + inner,
                       .wh = work + 2 * inner};
    b.pieces.run(&b);
    return adamoe_ok();
}

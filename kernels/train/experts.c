/*
 * The experts of one layer, forward and backward.
 *
 * With g = w1 x, u = w3 x, h = silu(g) * u, and y[t] += c w2 h for a row of token t with weight c:
 *   dh = c w2^T dy[t],  dw2 = sum over rows of dy[t] (c h)^T,  dc = h . (w2^T dy[t]).
 */
#include "train/experts.h"
#include "machine/clock.h"
#include "model/rows.h"

#include <string.h>

/* The rows of one expert. */
typedef struct expert_rows {
    size_t first, rows;
    const uint32_t *token;
} expert_rows;

static expert_rows rows_of(const adamoe_experts_pass *p, size_t expert)
{
    const size_t first = p->plan->offset[expert];
    return (expert_rows){first, p->plan->offset[expert + 1] - first, p->plan->input + first};
}

/* Adds the time since `start` to a stage. */
static void end_stage(const adamoe_experts_pass *p, adamoe_experts_stage stage, double start)
{
    if (p->stage_seconds != NULL) {
        p->stage_seconds[stage] += adamoe_now() - start;
    }
}

static void run_products(const adamoe_experts_pass *p, size_t count, adamoe_experts_stage stage)
{
    const double start = adamoe_now();
    adamoe_gemm_run(p->gemm_space, p->gemm, count);
    end_stage(p, stage, start);
}

/* One stage that goes row by row or token by token. */
typedef struct rows_stage {
    const adamoe_experts_pass *pass;
    const float *residual, *dy;
    float *y;
    const adamoe_experts_gradient *gradient;
} rows_stage;

static void run_rows(const rows_stage *s, size_t rows, adamoe_row_function *compute,
                     adamoe_experts_stage stage)
{
    const double start = adamoe_now();
    adamoe_each_row(s->pass->team, rows, compute, s);
    end_stage(s->pass, stage, start);
}

/* ----------------------------------------------------------------------------------------------- forward */

void adamoe_experts_up(const adamoe_experts_pass *p)
{
    const size_t d = p->hidden_size, ff = p->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < p->plan->experts; ++e) {
        const expert_rows r = rows_of(p, e);
        adamoe_gemm gate = adamoe_gemm_forward(p->x, p->expert[e].w1, r.rows, d, ff, p->gate + r.first * ff);
        adamoe_gemm up = adamoe_gemm_forward(p->x, p->expert[e].w3, r.rows, d, ff, p->up + r.first * ff);
        gate.a.list = up.a.list = r.token;
        p->gemm[count++] = gate;
        p->gemm[count++] = up;
    }
    run_products(p, count, ADAMOE_EXPERTS_UP);
}

static void gate_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const adamoe_experts_pass *p = ((const rows_stage *)context)->pass;
    const size_t ff = p->intermediate_size;
    p->train_ops->gate(p->gate + row * ff, p->up + row * ff, ff, p->hidden + row * ff);
}

static void down_products(const adamoe_experts_pass *p)
{
    const size_t d = p->hidden_size, ff = p->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < p->plan->experts; ++e) {
        const expert_rows r = rows_of(p, e);
        p->gemm[count++] = adamoe_gemm_forward(p->hidden + r.first * ff, p->expert[e].w2, r.rows, ff, d,
                                               p->slots + r.first * d);
    }
    run_products(p, count, ADAMOE_EXPERTS_DOWN);
}

static void combine_token(const void *context, size_t t, uint32_t thread)
{
    (void)thread;
    const rows_stage *s = context;
    const adamoe_experts_pass *p = s->pass;
    const adamoe_plan *plan = p->plan;
    const size_t d = p->hidden_size;
    float *y = s->y + t * d;
    if (s->residual == NULL) {
        memset(y, 0, d * sizeof *y);
    } else if (s->residual != s->y) {
        memcpy(y, s->residual + t * d, d * sizeof *y);
    }
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        p->train_ops->add_scaled(y, plan->combine[i], p->slots + plan->token_row[i] * d, d);
    }
    if (plan->self_scale != NULL) {
        p->train_ops->add_scaled(y, plan->self_scale[t], p->x + t * d, d);
    }
}

void adamoe_experts_forward(const adamoe_experts_pass *pass, const float *residual, float *y)
{
    const rows_stage stage = {.pass = pass, .residual = residual, .y = y};
    adamoe_experts_up(pass);
    run_rows(&stage, pass->plan->rows, gate_row, ADAMOE_EXPERTS_GATE);
    down_products(pass);
    run_rows(&stage, pass->plan->tokens, combine_token, ADAMOE_EXPERTS_COMBINE);
}

/* ---------------------------------------------------------------------------------------------- backward */

/* dhidden = w2^T dy, not yet times the row's weight. */
static void to_hidden(const adamoe_experts_pass *p, const float *dy)
{
    const size_t d = p->hidden_size, ff = p->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < p->plan->experts; ++e) {
        const expert_rows r = rows_of(p, e);
        p->gemm[count] = adamoe_gemm_to_input(dy, p->expert[e].w2, r.rows, ff, d, p->dhidden + r.first * ff);
        p->gemm[count++].a.list = r.token;
    }
    run_products(p, count, ADAMOE_EXPERTS_TO_HIDDEN);
}

/* gate and up become dg and du, hidden becomes c h; the derivatives of the weights; all by token, whose
 * places know the weights. */
static void token_backward(const void *context, size_t t, uint32_t thread)
{
    (void)thread;
    const rows_stage *s = context;
    const adamoe_experts_pass *p = s->pass;
    const adamoe_plan *plan = p->plan;
    const size_t d = p->hidden_size, ff = p->intermediate_size;
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        const size_t at = plan->token_row[i] * ff;
        const float derivative = p->train_ops->gate_backward(plan->combine[i], p->dhidden + at, ff,
                                                             p->gate + at, p->up + at, p->hidden + at);
        if (s->gradient->dcombine != NULL) {
            s->gradient->dcombine[i] = derivative;
        }
    }
    if (plan->self_scale != NULL && s->gradient->dself != NULL) {
        s->gradient->dself[t] = p->ops->dot(s->dy + t * d, p->x + t * d, d);
    }
}

static void to_weight(const adamoe_experts_pass *p, const float *dy,
                      const adamoe_float_expert_gradient *gradient)
{
    const size_t d = p->hidden_size, ff = p->intermediate_size;
    size_t count = 0;
    for (size_t e = 0; e < p->plan->experts; ++e) {
        const expert_rows r = rows_of(p, e);
        adamoe_gemm w1 = adamoe_gemm_to_weight(p->gate + r.first * ff, p->x, r.rows, d, ff, gradient[e].w1);
        adamoe_gemm w3 = adamoe_gemm_to_weight(p->up + r.first * ff, p->x, r.rows, d, ff, gradient[e].w3);
        adamoe_gemm w2 = adamoe_gemm_to_weight(dy, p->hidden + r.first * ff, r.rows, ff, d, gradient[e].w2);
        w1.b.list = w3.b.list = w2.a.list = r.token;
        p->gemm[count++] = w1;
        p->gemm[count++] = w3;
        p->gemm[count++] = w2;
    }
    run_products(p, count, ADAMOE_EXPERTS_TO_WEIGHT);
}

/* slots = w1^T dg, then += w3^T du. */
static void to_input(const adamoe_experts_pass *p)
{
    const size_t d = p->hidden_size, ff = p->intermediate_size;
    for (size_t half = 0; half < 2; ++half) {
        const float *dy = half == 0 ? p->gate : p->up;
        size_t count = 0;
        for (size_t e = 0; e < p->plan->experts; ++e) {
            const expert_rows r = rows_of(p, e);
            const float *w = half == 0 ? p->expert[e].w1 : p->expert[e].w3;
            p->gemm[count] =
                adamoe_gemm_to_input(dy + r.first * ff, w, r.rows, d, ff, p->slots + r.first * d);
            p->gemm[count++].add = half == 1;
        }
        run_products(p, count, ADAMOE_EXPERTS_TO_INPUT);
    }
}

/* dx = the sum of a token's rows, and what flows through identity experts. */
static void gather_token(const void *context, size_t t, uint32_t thread)
{
    (void)thread;
    const rows_stage *s = context;
    const adamoe_experts_pass *p = s->pass;
    const adamoe_plan *plan = p->plan;
    const size_t d = p->hidden_size;
    float *dx = s->gradient->dx + t * d;
    memset(dx, 0, d * sizeof *dx);
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        p->ops->add(dx, p->slots + plan->token_row[i] * d, d);
    }
    if (plan->self_scale != NULL) {
        p->train_ops->add_scaled(dx, plan->self_scale[t], s->dy + t * d, d);
    }
}

void adamoe_experts_backward(const adamoe_experts_pass *pass, const float *dy,
                             const adamoe_experts_gradient *gradient)
{
    const rows_stage stage = {.pass = pass, .dy = dy, .gradient = gradient};
    to_hidden(pass, dy);
    run_rows(&stage, pass->plan->tokens, token_backward, ADAMOE_EXPERTS_SILU);
    if (gradient->expert != NULL) {
        to_weight(pass, dy, gradient->expert);
    }
    if (gradient->dx != NULL) {
        to_input(pass);
        run_rows(&stage, pass->plan->tokens, gather_token, ADAMOE_EXPERTS_GATHER);
    }
}

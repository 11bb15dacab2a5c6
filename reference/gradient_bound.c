/*
 * The yardstick of a gradient. With g = w1 x, u = w3 x, a = silu(g), h = a u, e = w2^T dy of a row of weight
 * c: dc = e . h,  du = c e a,  dg = c e u silu'(g), dw1 = sum of dg x^T,  dw3 = sum of du x^T,  dw2 = sum of
 * dy (c h)^T,  dx = sum of w1^T dg + w3^T du. Matrices become doubles once; the loops go term by term, in the
 * order of the definition.
 */
#include "gradient_bound.h"
#include "layer.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FLOAT_ROUNDOFF  0x1p-24
#define FLOAT_UNDERFLOW 0x1p-150

static double square(double x)
{
    return x * x;
}

/* A sum in ascending order, and what bounds its error. */
typedef struct bounded_sum {
    double exact, squares, largest; /* of the terms; |partial sum| */
    double carried;                 /* the variance that its terms bring along */
    size_t terms;
} bounded_sum;

static void add_term(bounded_sum *sum, double term, double carried)
{
    sum->exact += term;
    sum->squares += square(term);
    sum->largest = fmax(sum->largest, fabs(sum->exact));
    sum->carried += carried;
    ++sum->terms;
}

static double variance_of(const bounded_sum *sum)
{
    return sum->carried + square(FLOAT_ROUNDOFF) * (double)sum->terms * (sum->squares + square(sum->largest));
}

/* One hidden channel of one row: a value, and the variance of its error. */
typedef struct channel {
    double g, u, e;
    double vg, vu, ve;
    double h, vh;
    double dg, du;                       /* with the row's weight */
    double dg_g, dg_u, dg_e;             /* derivatives of dg */
    double du_g, du_e;                   /* of du */
    double round_dg, round_du, vdg, vdu; /* variances of what their own operations round, and all of it */
} channel;

typedef struct workspace {
    const adamoe_layer *layer;
    const adamoe_plan *plan;
    const float *x, *dy;
    double silu_error;
    double *w1, *w3, *w2; /* of the expert at work */
    channel *channel;     /* [rows, ff] */
    bounded_sum *dx;      /* [tokens, d] over the rows of a token */
} workspace;

static bounded_sum product(const double *a, size_t stride, const float *b, size_t terms)
{
    bounded_sum sum = {0};
    for (size_t i = 0; i < terms; ++i) {
        add_term(&sum, a[i * stride] * (double)b[i], 0.0);
    }
    return sum;
}

/* The derivatives through silu. Its slope is a sum of two terms, s and s z (1 - s), that may cancel: each
 * keeps its own relative error. */
static void through_silu(channel *c, double weight, double silu_error)
{
    const double s = 1.0 / (1.0 + exp(-c->g)), rest = 1.0 / (1.0 + exp(c->g));
    const double a = c->g * s, slope = s * (1.0 + c->g * rest);
    const double curvature = s * rest * (2.0 + c->g * (rest - s));
    const double parts = s * (1.0 + fabs(c->g) * rest);
    c->h = a * c->u;
    c->vh = square(slope * c->u) * c->vg + square(a) * c->vu +
            square(FLOAT_ROUNDOFF * c->h) * (square(silu_error) + 2.0);
    c->du = weight * c->e * a;
    c->dg = weight * c->e * c->u * slope;
    c->du_g = weight * c->e * slope;
    c->du_e = weight * a;
    c->dg_g = weight * c->e * c->u * curvature;
    c->dg_u = weight * c->e * slope;
    c->dg_e = weight * c->u * slope;
    c->round_du = square(FLOAT_ROUNDOFF * c->du) * (square(silu_error) + 3.0);
    c->round_dg = square(FLOAT_ROUNDOFF * weight * c->e * c->u * parts) * (square(2.0 * silu_error) + 5.0);
    c->vdu = square(c->du_g) * c->vg + square(c->du_e) * c->ve + c->round_du;
    c->vdg = square(c->dg_g) * c->vg + square(c->dg_u) * c->vu + square(c->dg_e) * c->ve + c->round_dg;
}

static void fill_channels(const workspace *w, size_t row, double weight)
{
    const size_t d = w->layer->hidden_size, ff = w->layer->intermediate_size, t = w->plan->input[row];
    for (size_t i = 0; i < ff; ++i) {
        channel *c = &w->channel[row * ff + i];
        const bounded_sum g = product(w->w1 + i * d, 1, w->x + t * d, d);
        const bounded_sum u = product(w->w3 + i * d, 1, w->x + t * d, d);
        const bounded_sum e = product(w->w2 + i, ff, w->dy + t * d, d);
        *c = (channel){.g = g.exact,
                       .u = u.exact,
                       .e = e.exact,
                       .vg = variance_of(&g),
                       .vu = variance_of(&u),
                       .ve = variance_of(&e)};
        through_silu(c, weight, w->silu_error);
    }
}

static void store(const bounded_sum *sum, adamoe_yardstick *out, size_t at)
{
    out->expected[at] = sum->exact;
    out->spread[at] = sqrt(variance_of(sum));
    out->slack[at] = (double)sum->terms * FLOAT_UNDERFLOW;
}

/* dc = e . h. */
static void derive_weight(const workspace *w, size_t row, size_t place, adamoe_yardstick *out)
{
    const size_t ff = w->layer->intermediate_size;
    bounded_sum sum = {0};
    for (size_t i = 0; i < ff; ++i) {
        const channel *c = &w->channel[row * ff + i];
        add_term(&sum, c->e * c->h, square(c->h) * c->ve + square(c->e) * c->vh);
    }
    store(&sum, out, place);
}

/* The part of dx that one row gives: w1^T dg, then w3^T du; a term of the sum over the token's rows. */
static void derive_input(const workspace *w, size_t row)
{
    const size_t d = w->layer->hidden_size, ff = w->layer->intermediate_size, t = w->plan->input[row];
    for (size_t j = 0; j < d; ++j) {
        bounded_sum sum = {0};
        for (size_t i = 0; i < ff; ++i) {
            const channel *c = &w->channel[row * ff + i];
            const double w1 = w->w1[i * d + j], w3 = w->w3[i * d + j];
            add_term(&sum, w1 * c->dg,
                     square(w1 * c->dg_g + w3 * c->du_g) * c->vg + square(w1 * c->dg_u) * c->vu +
                         square(w1 * c->dg_e + w3 * c->du_e) * c->ve + square(w1) * c->round_dg +
                         square(w3) * c->round_du);
        }
        for (size_t i = 0; i < ff; ++i) {
            add_term(&sum, w->w3[i * d + j] * w->channel[row * ff + i].du, 0.0);
        }
        add_term(&w->dx[t * d + j], sum.exact, variance_of(&sum));
    }
}

/* The three matrices of one expert, over its rows; `scale` [rows] holds the weights c. */
static void derive_weights(const workspace *w, size_t expert, const double *scale,
                           adamoe_gradient_yardstick *out)
{
    const size_t d = w->layer->hidden_size, ff = w->layer->intermediate_size;
    const size_t first = w->plan->offset[expert], end = w->plan->offset[expert + 1];
    for (size_t i = 0; i < ff; ++i) {
        for (size_t j = 0; j < d; ++j) {
            bounded_sum w1 = {0}, w3 = {0}, w2 = {0};
            for (size_t row = first; row < end; ++row) {
                const channel *c = &w->channel[row * ff + i];
                const double x = (double)w->x[w->plan->input[row] * d + j];
                const double dy = (double)w->dy[w->plan->input[row] * d + j];
                const double ch = scale[row] * c->h;
                add_term(&w1, c->dg * x, square(x) * c->vdg);
                add_term(&w3, c->du * x, square(x) * c->vdu);
                add_term(&w2, dy * ch,
                         square(dy) * (square(scale[row]) * c->vh + square(FLOAT_ROUNDOFF * ch)));
            }
            store(&w1, &out->w1, (expert * ff + i) * d + j);
            store(&w3, &out->w3, (expert * ff + i) * d + j);
            store(&w2, &out->w2, (expert * d + j) * ff + i);
        }
    }
}

static void load_matrix(const adamoe_matrix *matrix, double *to)
{
    for (size_t r = 0; r < matrix->rows; ++r) {
        adamoe_matrix_row(matrix, r, to + r * matrix->columns);
    }
}

/* The place of each row, and its weight. */
static void invert(const adamoe_plan *plan, size_t *place, double *scale)
{
    for (size_t i = 0; i < plan->token_offset[plan->tokens]; ++i) {
        place[plan->token_row[i]] = i;
        scale[plan->token_row[i]] = (double)plan->combine[i];
    }
}

static void measure(const workspace *w, const size_t *place, const double *scale,
                    adamoe_gradient_yardstick *out)
{
    const size_t d = w->layer->hidden_size;
    for (size_t e = 0; e < w->layer->experts; ++e) {
        load_matrix(&w->layer->expert[e].w1, w->w1);
        load_matrix(&w->layer->expert[e].w3, w->w3);
        load_matrix(&w->layer->expert[e].w2, w->w2);
        for (size_t row = w->plan->offset[e]; row < w->plan->offset[e + 1]; ++row) {
            fill_channels(w, row, scale[row]);
            derive_weight(w, row, place[row], &out->dcombine);
            derive_input(w, row); /* experts ascend, as in a token's list */
        }
        derive_weights(w, e, scale, out);
    }
    for (size_t i = 0; i < w->plan->tokens * d; ++i) {
        if (w->plan->self_scale != NULL) {
            add_term(&w->dx[i], (double)w->plan->self_scale[i / d] * (double)w->dy[i], 0.0);
        }
        store(&w->dx[i], &out->dx, i);
    }
}

static adamoe_status create_yardsticks(const adamoe_layer *layer, const adamoe_plan *plan,
                                       adamoe_gradient_yardstick *out)
{
    const size_t matrices = layer->experts * layer->hidden_size * layer->intermediate_size;
    *out = (adamoe_gradient_yardstick){0};
    ADAMOE_TRY(adamoe_yardstick_create(plan->tokens * layer->hidden_size, &out->dx));
    ADAMOE_TRY(adamoe_yardstick_create(plan->token_offset[plan->tokens], &out->dcombine));
    ADAMOE_TRY(adamoe_yardstick_create(matrices, &out->w1));
    ADAMOE_TRY(adamoe_yardstick_create(matrices, &out->w3));
    return adamoe_yardstick_create(matrices, &out->w2);
}

adamoe_status adamoe_gradient_yardstick_create(const adamoe_layer *layer, const float *x,
                                               const adamoe_plan *plan, const float *dy, double silu_error,
                                               adamoe_gradient_yardstick *out)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    double *const matrices = calloc(3 * d * ff + 1, sizeof *matrices);
    double *const scale = calloc(plan->rows + 1, sizeof *scale);
    size_t *const place = calloc(plan->rows + 1, sizeof *place);
    workspace w = {.layer = layer, .plan = plan, .x = x, .dy = dy, .silu_error = silu_error};
    w.channel = calloc(plan->rows * ff + 1, sizeof *w.channel);
    w.dx = calloc(plan->tokens * d + 1, sizeof *w.dx);
    adamoe_status status = create_yardsticks(layer, plan, out);
    if (status.code == ADAMOE_OK &&
        (matrices == NULL || scale == NULL || place == NULL || w.channel == NULL || w.dx == NULL)) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "yardstick of a gradient: out of memory");
    }
    if (status.code == ADAMOE_OK) {
        w.w1 = matrices;
        w.w3 = matrices + d * ff;
        w.w2 = matrices + 2 * d * ff;
        invert(plan, place, scale);
        measure(&w, place, scale, out);
    } else {
        adamoe_gradient_yardstick_free(out);
    }
    free(matrices);
    free(scale);
    free(place);
    free(w.channel);
    free(w.dx);
    return status;
}

void adamoe_gradient_yardstick_free(adamoe_gradient_yardstick *yardstick)
{
    adamoe_yardstick_free(&yardstick->dx);
    adamoe_yardstick_free(&yardstick->dcombine);
    adamoe_yardstick_free(&yardstick->w1);
    adamoe_yardstick_free(&yardstick->w3);
    adamoe_yardstick_free(&yardstick->w2);
}

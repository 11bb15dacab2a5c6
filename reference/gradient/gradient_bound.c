/*
 * The yardstick of a gradient. With g = w1 x, u = w3 x, a = silu(g), h = a u, e = w2^T dy of a row of weight
 * c: dc = e . h,  du = c e a,  dg = c e u silu'(g), dw1 = sum of dg x^T,  dw3 = sum of du x^T,  dw2 = sum of
 * dy (c h)^T,  dx = sum of w1^T dg + w3^T du. Matrices become doubles once; the loops go term by term, in the
 * order of the definition. A name that begins with v is the variance of an error, with s its slack: what
 * underflow adds.
 */
#include "gradient/gradient_bound.h"
#include "bound/bound.h"
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
    double carried, slack;          /* the variance that its terms bring along, and their slack */
    size_t terms;
} bounded_sum;

static void add_term(bounded_sum *sum, double term, double carried, double slack)
{
    sum->exact += term;
    sum->squares += square(term);
    sum->largest = fmax(sum->largest, fabs(sum->exact));
    sum->carried += carried;
    sum->slack += slack + FLOAT_UNDERFLOW;
    ++sum->terms;
}

static double variance_of(const bounded_sum *sum)
{
    return sum->carried + square(FLOAT_ROUNDOFF) * (double)sum->terms * (sum->squares + square(sum->largest));
}

/* One hidden channel of one row: a value, and the variance of its error. */
typedef struct channel {
    double g, u, e;
    double vg, vu, ve, sg, su, se;
    double h, vh, sh;
    double dg, du;                       /* with the row's weight */
    double dg_g, dg_u, dg_e;             /* derivatives of dg */
    double du_g, du_e;                   /* of du */
    double round_dg, round_du, vdg, vdu; /* variances of what their own operations round, and all of it */
    double sdg, sdu;
} channel;

typedef struct workspace {
    const adamoe_layer *layer;
    const adamoe_plan *plan;
    const float *x, *dy;
    double silu_error;
    double *w1, *w3, *w2; /* of the expert at work */
    channel *channel;     /* [rows, ff] */
    bounded_sum *dx;      /* [tokens, d] over the rows of a token */
    bounded_sum *chain;   /* [tokens, d] the same, over all terms of all rows */
} workspace;

static bounded_sum product(const double *a, size_t stride, const float *b, size_t terms)
{
    bounded_sum sum = {0};
    for (size_t i = 0; i < terms; ++i) {
        add_term(&sum, a[i * stride] * (double)b[i], 0.0, 0.0);
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
    const double w = fabs(weight), e = fabs(c->e), u = fabs(c->u);
    /* Far below 0 the sigmoid is subnormal: it may be 0 altogether. */
    const double lost = c->g < -88.0 ? 1.0 : 0.0;
    c->h = a * c->u;
    c->vh = square(slope * c->u) * c->vg + square(a) * c->vu +
            square(FLOAT_ROUNDOFF * c->h) * (square(silu_error) + 2.0);
    c->sh = fabs(slope * c->u) * c->sg + fabs(a) * c->su + FLOAT_UNDERFLOW * (1.0 + (1.0 + fabs(c->g)) * u) +
            lost * fabs(c->h);
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
    c->sdu = fabs(c->du_g) * c->sg + fabs(c->du_e) * c->se + lost * fabs(c->du) +
             FLOAT_UNDERFLOW * (1.0 + w) * (1.0 + e) * (1.0 + fabs(c->g));
    c->sdg = fabs(c->dg_g) * c->sg + fabs(c->dg_u) * c->su + fabs(c->dg_e) * c->se +
             lost * w * e * u * parts + FLOAT_UNDERFLOW * (1.0 + w) * (1.0 + e) * (1.0 + u) * (1.0 + parts);
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
                       .ve = variance_of(&e),
                       .sg = g.slack,
                       .su = u.slack,
                       .se = e.slack};
        through_silu(c, weight, w->silu_error);
    }
}

static void store(const bounded_sum *sum, adamoe_yardstick *out, size_t at)
{
    out->expected[at] = sum->exact;
    out->spread[at] = sqrt(variance_of(sum));
    out->slack[at] = sum->slack;
}

/* Allows for another way to the same sum too. */
static void widen(const bounded_sum *other, adamoe_yardstick *out, size_t at)
{
    out->spread[at] = fmax(out->spread[at], sqrt(variance_of(other)));
    out->slack[at] = fmax(out->slack[at], other->slack);
}

/* dc = e . h, or dy . (w2 h). */
static void derive_weight(const workspace *w, size_t row, size_t place, adamoe_yardstick *out)
{
    const size_t d = w->layer->hidden_size, ff = w->layer->intermediate_size, t = w->plan->input[row];
    bounded_sum inner = {0}, outer = {0};
    for (size_t i = 0; i < ff; ++i) {
        const channel *c = &w->channel[row * ff + i];
        add_term(&inner, c->e * c->h, square(c->h) * c->ve + square(c->e) * c->vh,
                 fabs(c->h) * c->se + fabs(c->e) * c->sh);
    }
    for (size_t j = 0; j < d; ++j) {
        const double dy = (double)w->dy[t * d + j];
        bounded_sum y = {0};
        for (size_t i = 0; i < ff; ++i) {
            const channel *c = &w->channel[row * ff + i];
            const double w2 = w->w2[j * ff + i];
            add_term(&y, w2 * c->h, square(w2) * c->vh, fabs(w2) * c->sh);
        }
        add_term(&outer, dy * y.exact, square(dy) * variance_of(&y), fabs(dy) * y.slack);
    }
    store(&inner, out, place);
    widen(&outer, out, place);
}

static void derive_self_weight(const workspace *w, size_t t, adamoe_yardstick *out)
{
    const size_t d = w->layer->hidden_size;
    bounded_sum sum = {0};
    for (size_t j = 0; j < d; ++j) {
        add_term(&sum, (double)w->dy[t * d + j] * (double)w->x[t * d + j], 0.0, 0.0);
    }
    store(&sum, out, t);
}

/* The part of dx that one row gives: w1^T dg, then w3^T du; a term of the sum over the token's rows. What
 * both carry is counted with the first. */
static void derive_input(const workspace *w, size_t row)
{
    const size_t d = w->layer->hidden_size, ff = w->layer->intermediate_size, t = w->plan->input[row];
    for (size_t j = 0; j < d; ++j) {
        bounded_sum sum = {0}, *chain = &w->chain[t * d + j];
        for (size_t i = 0; i < 2 * ff; ++i) {
            const channel *c = &w->channel[row * ff + i % ff];
            const double w1 = w->w1[i % ff * d + j], w3 = w->w3[i % ff * d + j];
            const bool first = i < ff;
            const double term = first ? w1 * c->dg : w3 * c->du;
            const double carried = first ? square(w1 * c->dg_g + w3 * c->du_g) * c->vg +
                                               square(w1 * c->dg_u) * c->vu +
                                               square(w1 * c->dg_e + w3 * c->du_e) * c->ve +
                                               square(w1) * c->round_dg + square(w3) * c->round_du
                                         : 0.0;
            const double slack = first ? fabs(w1) * c->sdg : fabs(w3) * c->sdu;
            add_term(&sum, term, carried, slack);
            add_term(chain, term, carried, slack);
        }
        add_term(&w->dx[t * d + j], sum.exact, variance_of(&sum), sum.slack);
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
                add_term(&w1, c->dg * x, square(x) * c->vdg, fabs(x) * c->sdg);
                add_term(&w3, c->du * x, square(x) * c->vdu, fabs(x) * c->sdu);
                add_term(&w2, dy * ch,
                         square(dy) * (square(scale[row]) * c->vh + square(FLOAT_ROUNDOFF * ch)),
                         fabs(dy) * (fabs(scale[row]) * c->sh + FLOAT_UNDERFLOW));
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
            const double term = (double)w->plan->self_scale[i / d] * (double)w->dy[i];
            add_term(&w->dx[i], term, 0.0, 0.0);
            add_term(&w->chain[i], term, 0.0, 0.0);
        }
        store(&w->dx[i], &out->dx, i);
        widen(&w->chain[i], &out->dx, i);
    }
    for (size_t t = 0; t < out->dself.count; ++t) {
        derive_self_weight(w, t, &out->dself);
    }
}

static adamoe_status create_yardsticks(const adamoe_layer *layer, const adamoe_plan *plan,
                                       adamoe_gradient_yardstick *out)
{
    const size_t matrices = layer->experts * layer->hidden_size * layer->intermediate_size;
    *out = (adamoe_gradient_yardstick){0};
    ADAMOE_TRY(adamoe_yardstick_create(plan->tokens * layer->hidden_size, &out->dx));
    ADAMOE_TRY(adamoe_yardstick_create(plan->token_offset[plan->tokens], &out->dcombine));
    ADAMOE_TRY(adamoe_yardstick_create(plan->self_scale == NULL ? 0 : plan->tokens, &out->dself));
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
    w.chain = calloc(plan->tokens * d + 1, sizeof *w.chain);
    adamoe_status status = create_yardsticks(layer, plan, out);
    if (status.code == ADAMOE_OK && (matrices == NULL || scale == NULL || place == NULL ||
                                     w.channel == NULL || w.dx == NULL || w.chain == NULL)) {
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
    free(w.chain);
    return status;
}

void adamoe_gradient_yardstick_free(adamoe_gradient_yardstick *yardstick)
{
    adamoe_yardstick_free(&yardstick->dx);
    adamoe_yardstick_free(&yardstick->dcombine);
    adamoe_yardstick_free(&yardstick->dself);
    adamoe_yardstick_free(&yardstick->w1);
    adamoe_yardstick_free(&yardstick->w3);
    adamoe_yardstick_free(&yardstick->w2);
}

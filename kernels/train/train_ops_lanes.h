/*
 * The functions of train_ops.h in the vocabulary of a lanes.h, which is included before. All are static; a
 * file for one instruction set makes a table of them with TRAIN_OPS_TABLE.
 */
#ifndef ADAMOE_TRAIN_TRAIN_OPS_LANES_H
#define ADAMOE_TRAIN_TRAIN_OPS_LANES_H

#include "vector/lanes_math.h"
#include "train/train_ops.h"

#include <math.h>

/* The lanes at x + i, 0 beyond count. */
static inline lanes load_at(const float *x, size_t i, size_t count)
{
    return i + LANES <= count ? lanes_load(x + i) : lanes_load_first(x + i, count - i);
}

static inline void store_at(float *x, size_t i, size_t count, lanes a)
{
    if (i + LANES <= count) {
        lanes_store(x + i, a);
    } else {
        lanes_store_first(x + i, a, count - i);
    }
}

static void add_scaled(float *sum, float scale, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += LANES) {
        store_at(sum, i, count, lanes_fma(lanes_all(scale), load_at(x, i, count), load_at(sum, i, count)));
    }
}

static void add_product(float *sum, float scale, const float *x, const float *y, size_t count)
{
    for (size_t i = 0; i < count; i += LANES) {
        const lanes scaled = lanes_multiply(lanes_all(scale), load_at(x, i, count));
        store_at(sum, i, count, lanes_fma(scaled, load_at(y, i, count), load_at(sum, i, count)));
    }
}

static void gate(const float *g, const float *u, size_t count, float *h)
{
    for (size_t i = 0; i < count; i += LANES) {
        store_at(h, i, count, lanes_multiply(lanes_silu(load_at(g, i, count)), load_at(u, i, count)));
    }
}

/* silu(z) = z s and silu'(z) = s (1 + z (1 - s)) with s = 1 / (1 + exp(-z)), where both s and 1 - s come from
 * exp(-|z|), so that neither cancels. Beyond count every lane is 0. */
static float gate_backward(float weight, const float *dh, size_t count, float *g, float *u, float *wh)
{
    const lanes one = lanes_all(1.0f), zero = lanes_all(0.0f), w = lanes_all(weight);
    lanes dweight = zero;
    for (size_t i = 0; i < count; i += LANES) {
        const lanes z = load_at(g, i, count), up = load_at(u, i, count);
        const lanes dhidden = load_at(dh, i, count);
        const lanes e = lanes_exp(lanes_subtract(zero, lanes_magnitude(z))), sum = lanes_add(one, e);
        const lanes s = lanes_divide(lanes_where_positive(z, one, e), sum);
        const lanes rest = lanes_divide(lanes_where_positive(z, e, one), sum);
        const lanes slope = lanes_multiply(s, lanes_fma(z, rest, one));
        const lanes activated = lanes_multiply(z, s), hidden = lanes_multiply(activated, up);
        const lanes scaled = lanes_multiply(w, dhidden);
        dweight = lanes_fma(dhidden, hidden, dweight);
        store_at(g, i, count, lanes_multiply(lanes_multiply(scaled, up), slope));
        store_at(u, i, count, lanes_multiply(scaled, activated));
        store_at(wh, i, count, lanes_multiply(w, hidden));
    }
    return lanes_sum(dweight);
}

/* dx += r (gain dy - x r^2 mean(x gain dy)). */
static float rms_norm_backward(const float *x, const float *gain, double eps, const float *dy, size_t count,
                               float *dx)
{
    lanes squares = lanes_all(0.0f), products = lanes_all(0.0f);
    for (size_t i = 0; i < count; i += LANES) {
        const lanes a = load_at(x, i, count);
        const lanes d = lanes_multiply(load_at(gain, i, count), load_at(dy, i, count));
        squares = lanes_fma(a, a, squares);
        products = lanes_fma(a, d, products);
    }
    const double r = 1.0 / sqrt((double)lanes_sum(squares) / (double)count + eps);
    const lanes scale = lanes_all((float)r);
    const lanes along = lanes_all((float)(-r * r * r * (double)lanes_sum(products) / (double)count));
    for (size_t i = 0; i < count; i += LANES) {
        const lanes d = lanes_multiply(load_at(gain, i, count), load_at(dy, i, count));
        const lanes sum = lanes_fma(along, load_at(x, i, count), load_at(dx, i, count));
        store_at(dx, i, count, lanes_fma(scale, d, sum));
    }
    return (float)r;
}

static void scaled_exp(float *x, size_t count, float largest, float factor)
{
    for (size_t i = 0; i < count; i += LANES) {
        const lanes e = lanes_exp(lanes_subtract(load_at(x, i, count), lanes_all(largest)));
        store_at(x, i, count, lanes_multiply(lanes_all(factor), e));
    }
}

static void softmax_backward(const float *share, float scale, size_t count, float *dshare)
{
    lanes products = lanes_all(0.0f);
    for (size_t i = 0; i < count; i += LANES) {
        products = lanes_fma(load_at(share, i, count), load_at(dshare, i, count), products);
    }
    const lanes mean = lanes_all(lanes_sum(products));
    for (size_t i = 0; i < count; i += LANES) {
        const lanes scaled = lanes_multiply(lanes_all(scale), load_at(share, i, count));
        store_at(dshare, i, count, lanes_multiply(scaled, lanes_subtract(load_at(dshare, i, count), mean)));
    }
}

static void add_outer(const float *weight, const float *x, size_t width, float *rows, size_t stride,
                      size_t count)
{
    for (size_t c = 0; c < width; c += LANES) {
        const lanes part = load_at(x, c, width);
        for (size_t i = 0; i < count; ++i) {
            float *row = rows + i * stride;
            store_at(row, c, width, lanes_fma(lanes_all(weight[i]), part, load_at(row, c, width)));
        }
    }
}

static void adamw(const adamoe_adamw_step *step, const float *gradient, size_t count, float *w, float *m,
                  float *v)
{
    const lanes beta1 = lanes_all(step->beta1), rest1 = lanes_all(1.0f - step->beta1);
    const lanes beta2 = lanes_all(step->beta2), rest2 = lanes_all(1.0f - step->beta2);
    const lanes correction1 = lanes_all(step->correction1), correction2 = lanes_all(step->correction2);
    for (size_t i = 0; i < count; i += LANES) {
        const lanes g = lanes_multiply(lanes_all(step->gradient_scale), load_at(gradient, i, count));
        const lanes first = lanes_fma(rest1, g, lanes_multiply(beta1, load_at(m, i, count)));
        const lanes second =
            lanes_fma(rest2, lanes_multiply(g, g), lanes_multiply(beta2, load_at(v, i, count)));
        const lanes root = lanes_square_root(lanes_divide(second, correction2));
        const lanes update =
            lanes_divide(lanes_divide(first, correction1), lanes_add(root, lanes_all(step->eps)));
        const lanes weight = load_at(w, i, count);
        const lanes change = lanes_fma(lanes_all(step->decay), weight, update);
        store_at(m, i, count, first);
        store_at(v, i, count, second);
        store_at(w, i, count, lanes_subtract(weight, lanes_multiply(lanes_all(step->rate), change)));
    }
}

/* clang-format off */
#define TRAIN_OPS_TABLE                                                                                      \
    {                                                                                                        \
        .add_scaled = add_scaled, .add_product = add_product, .gate = gate, .gate_backward = gate_backward,  \
        .rms_norm_backward = rms_norm_backward, .scaled_exp = scaled_exp,                                    \
        .softmax_backward = softmax_backward, .add_outer = add_outer, .adamw = adamw,                        \
    }
/* clang-format on */

#endif

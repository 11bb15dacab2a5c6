/*
 * Functions on rows of floats that training needs beside vector_ops.h, one table for each instruction set.
 * Written once, in train_ops_lanes.h; what vector_ops.h says of results and their bits holds here too.
 */
#ifndef ADAMOE_TRAIN_TRAIN_OPS_H
#define ADAMOE_TRAIN_TRAIN_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One step of AdamW (Loshchilov and Hutter 2019), with its corrections of the moments' start:
 *   g = gradient_scale * gradient
 *   m = beta1 m + (1 - beta1) g
 *   v = beta2 v + (1 - beta2) g^2
 *   w = w - rate * (m / correction1 / (sqrt(v / correction2) + eps) + decay * w) */
typedef struct adamoe_adamw_step {
    float gradient_scale, beta1, beta2, correction1, correction2, eps, rate, decay;
} adamoe_adamw_step;

typedef struct adamoe_train_ops {
    /* sum += scale * x. */
    void (*add_scaled)(float *sum, float scale, const float *x, size_t count);

    /* sum += scale * x * y, element by element. */
    void (*add_product)(float *sum, float scale, const float *x, const float *y, size_t count);

    /* h = silu(g) * u. */
    void (*gate)(const float *g, const float *u, size_t count, float *h);

    /* What an expert's row gives back, for the output weight w and y = w * w2 h:
     *   h = silu(g) u,  dg = w dh u silu'(g),  du = w dh silu(g);
     * g becomes dg, u becomes du, and w h is stored in wh. Returns dh . h, the derivative of w. */
    float (*gate_backward)(float weight, const float *dh, size_t count, float *g, float *u, float *wh);

    /* dx += the derivative for x of y = x r gain, r = 1 / sqrt(mean(x^2) + eps); returns r. */
    float (*rms_norm_backward)(const float *x, const float *gain, double eps, const float *dy, size_t count,
                               float *dx);

    /* x = factor * exp(x - largest). */
    void (*scaled_exp)(float *x, size_t count, float largest, float factor);

    /* dshare = scale * share * (dshare - share . dshare): through a softmax. */
    void (*softmax_backward)(const float *share, float scale, size_t count, float *dshare);

    /* row i of rows += weight[i] * x, for i < count; row i is at rows + i * stride. */
    void (*add_outer)(const float *weight, const float *x, size_t width, float *rows, size_t stride,
                      size_t count);

    void (*adamw)(const adamoe_adamw_step *step, const float *gradient, size_t count, float *w, float *m,
                  float *v);
} adamoe_train_ops;

/* As for vector_ops.h, in the same order. */
const adamoe_train_ops *adamoe_train_ops_best(void);
const adamoe_train_ops *adamoe_train_ops_at(size_t index, bool *runs_here);

/* Only where the processor has AVX2 and FMA, or AVX-512 F. */
extern const adamoe_train_ops adamoe_train_ops_avx2, adamoe_train_ops_avx512;

#endif
